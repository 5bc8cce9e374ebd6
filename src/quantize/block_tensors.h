// The float tensors of one block while transforms edit them, and where each edit went: into the
// weights, into what precedes the group, or into an online operation of the layers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "artefact/quantized_linear.h"
#include "model/checkpoint.h"
#include "quantize/model_rotation.h"
#include "quantize/transforms.h"

namespace qualm {

class ThreadPool;

// A tensor that a transform changed and that stays float.
struct ChangedTensor {
  std::string name;  // in full
  std::vector<size_t> shape;
  std::vector<float> values;
};

// x ↦ x/scale, x ↦ x − shift, and what gives y back its W·shift. weight [out, in].
OnlineTransform MakeInputScale(std::span<const float> scale);
OnlineTransform MakeInputShift(std::span<const float> shift);
OnlineTransform MakeOutputShift(Span2D<const float> weight, std::span<const float> shift);

class BlockTensors {
 public:
  // Reads nothing yet; a weight is loaded when it is first asked for. With `rotation` (null: none;
  // must outlive this) the block begins in the rotated basis.
  BlockTensors(const Checkpoint& checkpoint, size_t block, const ModelRotation* rotation);

  // By the linear layer's name inside the block.
  Matrix& Weight(const std::string& linear);
  WeightClip& Clip(const std::string& linear) { return clips_[linear]; }
  // What was searched for, transform by transform.
  const std::vector<std::string>& Choices(size_t group) const { return choices_[group]; }
  bool is_transformed(size_t group) const { return is_transformed_[group]; }

  // Whether a scale of the group's input can be divided out of what precedes it: a norm, or a
  // linear layer whose output is the group's input channel by channel; and no online rotation
  // stands between.
  bool CanFold(size_t group) const;
  // Edits the group's weights and either the preceding tensor or the online operations.
  void Apply(size_t group, std::string_view transform, const InputEdit& edit, ThreadPool& pool);

  // What the group's input goes through before its layers see it.
  const std::vector<OnlineTransform>& Online(size_t group) const { return online_[group]; }
  // What the layer's output goes through (shifts that are added again).
  const std::vector<OnlineTransform>& OnlineOutput(const std::string& linear) {
    return outputs_[linear];
  }

  // Makes `block` run on the float tensors as they are now.
  void PutInto(DecoderBlock& block, ThreadPool& pool);
  // The same for the weights of one group, edited or not.
  void PutGroup(size_t group, DecoderBlock& block, ThreadPool& pool);
  // The changed tensors that are not among `quantized` (full names), in a fixed order.
  std::vector<ChangedTensor> Changed(std::span<const std::string> quantized);
  void Forget(const std::string& linear) { weights_.erase(linear); }

 private:
  std::vector<float>& Vector(const std::string& name);
  void FoldScale(size_t group, std::span<const float> scale);
  std::string FullName(std::string_view name) const;

  void LoadRotated();
  Matrix Load(const std::string& linear) const;

  const Checkpoint& checkpoint_;
  const Family& family_;
  size_t block_;
  const ModelRotation* rotation_;
  std::map<std::string, Matrix> weights_;              // by linear
  std::map<std::string, std::vector<float>> vectors_;  // norms and biases by tensor name
  std::map<std::string, bool> changed_weights_;
  std::map<std::string, WeightClip> clips_;
  std::map<std::string, std::vector<OnlineTransform>> outputs_;
  std::vector<std::vector<OnlineTransform>> online_;  // by group
  std::vector<std::vector<std::string>> choices_;     // by group
  std::vector<bool> is_transformed_;                  // by group
};

}  // namespace qualm
