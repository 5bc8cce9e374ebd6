// The float tensors of one block while transforms edit them. An edit goes into the weights, into
// what produces an input, or into an online operation of the linear layers that read it. Inputs are
// numbered in the order of SiteInputs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "artefact/quantized_linear.h"
#include "methods/transforms.h"
#include "model/checkpoint.h"
#include "quantize/model_rotation.h"

namespace qualm {

struct Context;

// A tensor that a transform changed and that stays float.
struct ChangedTensor {
  std::string name;  // in full
  std::vector<size_t> shape;
  std::vector<float> values;
};

// x ↦ x/scale, x ↦ x − shift, and the operation that adds W·shift to y again. weight [out, in].
OnlineTransform MakeInputScale(std::span<const float> scale);
OnlineTransform MakeInputShift(std::span<const float> shift);
OnlineTransform MakeOutputShift(Span2D<const float> weight, std::span<const float> shift);

// Used by TransformBlock (CanFold, Apply, Clip), then by the rounding (Weight, Online, Changed).
// Weights are loaded at first use and dropped with Forget, since a block of floats is the largest
// thing in memory.
class BlockTensors {
 public:
  // Reads nothing yet; a weight is loaded when it is first asked for. With `rotation` (null: none;
  // must outlive this) the block begins in the rotated basis.
  BlockTensors(const Checkpoint& checkpoint, size_t block, const ModelRotation* rotation);

  // By the linear layer's name inside the block.
  Matrix& Weight(const std::string& linear);
  WeightClip& Clip(const std::string& linear) { return clips_[linear]; }
  // The choices that transforms made by searching, in their order.
  const std::vector<std::string>& Choices(size_t input) const { return choices_[input]; }
  bool is_transformed(size_t input) const { return is_transformed_[input]; }

  // Whether a scale of the input can be divided out of what comes before it: a norm, or a linear
  // layer whose output is the input channel by channel, with no online rotation between them.
  bool CanFold(size_t input) const;
  // Edits the weights that read the input, and either what comes before it or the online
  // operations.
  void Apply(size_t input, std::string_view transform, const InputEdit& edit,
             const Context& context);

  // The online operations on the input before its layers see it.
  const std::vector<OnlineTransform>& Online(size_t input) const { return online_[input]; }
  // The operations on the layer's output (shifts that are added again).
  const std::vector<OnlineTransform>& OnlineOutput(const std::string& linear) {
    return outputs_[linear];
  }

  // Makes `block` run on the float tensors as they are now.
  void PutInto(DecoderBlock& block, const Context& context);
  // The same for the weights that read one input, edited or not.
  void PutReaders(size_t input, DecoderBlock& block, const Context& context);
  // The changed tensors that are not among `quantized` (full names), in a fixed order.
  std::vector<ChangedTensor> Changed(std::span<const std::string> quantized);
  void Forget(const std::string& linear) { weights_.erase(linear); }

 private:
  std::vector<float>& Vector(const std::string& name);
  void FoldScale(size_t input, std::span<const float> scale);
  std::string FullName(std::string_view name) const;

  void FoldIntoNorm(const NormPlan& norm, std::span<const float> scale);
  void FoldIntoProducer(const std::string& producer, std::span<const float> scale);
  // The input that a linear layer reads, and its site.
  std::pair<size_t, const LinearSite*> Find(const std::string& linear) const;

  void LoadRotated();
  Matrix Load(const std::string& linear) const;

  const Checkpoint& checkpoint_;
  size_t block_;
  std::vector<SiteInput> inputs_;
  const ModelRotation* rotation_;
  std::map<std::string, Matrix> weights_;              // by linear
  std::map<std::string, std::vector<float>> vectors_;  // norms and biases by tensor name
  std::map<std::string, bool> changed_weights_;
  std::map<std::string, WeightClip> clips_;
  std::map<std::string, std::vector<OnlineTransform>> outputs_;
  std::vector<std::vector<OnlineTransform>> online_;  // by input
  std::vector<std::vector<std::string>> choices_;     // by input
  std::vector<bool> is_transformed_;                  // by input
};

}  // namespace qualm
