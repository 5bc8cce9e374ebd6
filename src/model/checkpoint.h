// A float checkpoint on disk: its plan and its tensors by their place in the model.
// Weights stay in the mapped file; what is built from them is copied.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/input_set.h"
#include "model/decoder.h"
#include "model/model_tensors.h"
#include "model/quantized_sites.h"

namespace qualm {

class Checkpoint {
 public:
  // Reads config.json and the headers; checks that every tensor the model needs is there with the
  // shape the configuration asks for. With `allow_missing_linears` block weights may be absent
  // (a quantized folder has codes instead). A float tensor that the model does not need is an
  // error, too, unless it is known to mean nothing (unread_tensors.h) or the source ignores it.
  static Checkpoint Open(const ModelSource& source, bool allow_missing_linears = false);

  const std::filesystem::path& folder() const { return source_.folder; }
  const ModelSource& source() const { return source_; }
  const ModelPlan& plan() const { return *plan_; }
  const ModelTensors& tensors() const { return *tensors_; }

  // "x.y.weight" as a matrix, valid until its block is released; or its size in the file.
  WeightView Weight(std::string_view layer_name) const;
  uint64_t WeightBytes(std::string_view layer_name) const;
  std::vector<float> BiasOf(std::string_view layer_name) const;  // empty if there is none
  // Weight and bias of a norm, given its name in full; empty where it has none.
  std::vector<float> NormWeight(const NormPlan& norm, std::string_view name) const;
  std::vector<float> NormBias(const NormPlan& norm, std::string_view name) const;

  // The layers, and perhaps tables, that another tool has quantized: they have no float weight.
  const QuantizedSites& quantized() const { return *quantized_; }
  // Under which name the embedding and the head are stored; one tensor if they are tied.
  const std::string& EmbeddingName() const;
  const std::string& HeadName() const;

  // The embedding's and the head's weight; one tensor if they are tied, under whichever of the two
  // names the file stores it. A head whose rows have unit length keeps them in `memory`.
  WeightView EmbeddingWeight() const;
  WeightView HeadWeight(Matrix& memory) const;
  uint64_t HeadBytes() const;  // in the file

  // Drops the pages of all tensors of a block from resident memory.
  void ReleaseBlock(size_t block) const;

  // Hash over the configuration and all tensor files.
  std::string Hash() const;
  // The files that Open read.
  InputSet Inputs() const;
  // Hash() of a checkpoint by its inputs, whose files are read only if they have no hash yet.
  static std::string HashOf(InputSet& inputs);

 private:
  Checkpoint() = default;
  WeightView StoredHead() const;
  void CheckTensors(bool allow_missing_linears) const;
  void CheckTables() const;
  void CheckSite(const std::string& name, const LinearSite& site, bool may_be_missing) const;
  void CheckNorm(const std::string& name, const NormPlan& norm) const;
  void CheckMatrix(const std::string& name, size_t rows, size_t cols) const;
  void CheckVector(const std::string& name, size_t size) const;
  // Names of the tensors that the model is made of, as far as the files have them.
  std::set<std::string> NeededTensors() const;

  ModelSource source_;
  std::unique_ptr<ModelPlan> plan_;  // on the heap: blocks refer to it
  std::unique_ptr<ModelTensors> tensors_;
  std::unique_ptr<QuantizedSites> quantized_;
};

// Makes the weight of one linear layer, given its full name ("model.layers.0.mlp.up_proj").
using WeightFactory = std::function<std::unique_ptr<LinearWeight>(const std::string& name)>;

// A block with norms and biases from `tensors` and weights from the factory. `plan` is referred to,
// not copied.
std::unique_ptr<DecoderBlock> BuildBlock(const ModelTensors& tensors, const ModelPlan& plan,
                                         size_t index, const WeightFactory& make_weight);

// What comes before the blocks, with float products; tables refer to the checkpoint's memory.
InputLayers LoadInput(const Checkpoint& checkpoint, const Context& context);
// Of these only the norm: tables and projection are left to the caller.
InputLayers LoadInputNorms(const Checkpoint& checkpoint);

// Weight and bias of a norm as floats, as Checkpoint::NormWeight gives them.
NormLayer LoadNorm(const ModelTensors& tensors, const NormPlan& norm, std::string_view name);

}  // namespace qualm
