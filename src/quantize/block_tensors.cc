// Loads the float tensors of a block when they are needed, edits them, and puts them into a running
// block.
#include "quantize/block_tensors.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

OnlineTransform Make(OnlineTransform::Kind kind, OnlineTransform::Side side,
                     std::span<const float> factors) {
  OnlineTransform transform;
  transform.kind = kind;
  transform.side = side;
  transform.factors.assign(factors.begin(), factors.end());
  return transform;
}

}  // namespace

OnlineTransform MakeInputScale(std::span<const float> scale) {
  return Make(OnlineTransform::Kind::kScale, OnlineTransform::Side::kInput, scale);
}

OnlineTransform MakeInputShift(std::span<const float> shift) {
  return Make(OnlineTransform::Kind::kShift, OnlineTransform::Side::kInput, shift);
}

// W·x = W·(x − z) + W·z: the second term is an output-side shift by its negative.
OnlineTransform MakeOutputShift(Span2D<const float> weight, std::span<const float> shift) {
  std::vector<float> factors;
  for (size_t r = 0; r < weight.rows(); ++r) {
    double sum = 0;
    for (size_t c = 0; c < shift.size(); ++c) sum += double{weight(r, c)} * shift[c];
    factors.push_back(static_cast<float>(-sum));
  }
  return Make(OnlineTransform::Kind::kShift, OnlineTransform::Side::kOutput, factors);
}

BlockTensors::BlockTensors(const Checkpoint& checkpoint, size_t block,
                           const ModelRotation* rotation)
    : checkpoint_(checkpoint),
      block_(block),
      inputs_(SiteInputs(checkpoint.plan().blocks[block])),
      rotation_(rotation),
      online_(inputs_.size()),
      choices_(inputs_.size()),
      is_transformed_(inputs_.size(), false) {
  if (rotation_ != nullptr) LoadRotated();
}

// Norms and biases are small and rotated at once, weights when they are first used.
void BlockTensors::LoadRotated() {
  // Later edits work on the rotated norms.
  for (const NormPlan& norm : NormsOf(checkpoint_.plan().blocks[block_])) {
    vectors_[norm.name + ".weight"] = rotation_->Norm(norm, block_);
  }

  // Every input counts as transformed: its readers are not the checkpoint's tensors any more.
  for (size_t i = 0; i < inputs_.size(); ++i) {
    is_transformed_[i] = true;
    online_[i] = rotation_->Online(inputs_[i]);
    for (const LinearSite& site : inputs_[i].sites) {
      vectors_[site.name + ".bias"] = rotation_->Bias(site, block_);
      changed_weights_[site.name] = true;
    }
  }
}

// The input that a linear layer reads, and its site.
std::pair<size_t, const LinearSite*> BlockTensors::Find(const std::string& linear) const {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    for (const LinearSite& site : inputs_[i].sites) {
      if (site.name == linear) return {i, &site};
    }
  }
  internal::CheckFailed("the block's plan has this linear layer", __FILE__, __LINE__);
}

std::string BlockTensors::FullName(std::string_view name) const {
  return checkpoint_.plan().NameIn(block_, name);
}

Matrix& BlockTensors::Weight(const std::string& linear) {
  auto found = weights_.find(linear);
  if (found == weights_.end()) {
    found = weights_.emplace(linear, Load(linear)).first;
  }
  return found->second;
}

Matrix BlockTensors::Load(const std::string& linear) const {
  if (rotation_ == nullptr) return ToMatrix(checkpoint_.Weight(FullName(linear)));
  const auto [input, site] = Find(linear);
  return rotation_->Weight(inputs_[input], *site, block_);
}

// A norm's weight or a layer's bias by its name inside the block; empty if there is none.
std::vector<float>& BlockTensors::Vector(const std::string& name) {
  auto found = vectors_.find(name);
  if (found == vectors_.end()) {
    const TensorView* tensor = checkpoint_.tensors().Find(FullName(name));
    found =
        vectors_.emplace(name, tensor == nullptr ? std::vector<float>{} : tensor->AsFloats()).first;
  }
  return found->second;
}

bool BlockTensors::CanFold(size_t input) const {
  // A scale can move past scales and shifts of single channels towards the producer, but not past a
  // rotation.
  const bool can_overtake = std::ranges::all_of(online_[input], [](const OnlineTransform& t) {
    return t.kind == OnlineTransform::Kind::kScale || t.kind == OnlineTransform::Kind::kShift;
  });
  if (!can_overtake) return false;
  // A norm whose output is also added to the hidden states must stay as it is, and one without
  // weights has no place for a scale.
  if (const auto& norm = inputs_[input].norm) {
    return norm->has_weight && !inputs_[input].norm_is_added;
  }
  if (inputs_[input].producer.empty()) return false;
  // With grouped queries one value head feeds several query heads, so their inputs have no scale
  // that is only theirs.
  return Find(inputs_[input].producer).second->out == inputs_[input].width;
}

void BlockTensors::FoldScale(size_t input, std::span<const float> scale) {
  if (inputs_[input].norm) {
    FoldIntoNorm(*inputs_[input].norm, scale);
  } else {
    FoldIntoProducer(inputs_[input].producer, scale);
  }
}

// The norm multiplies by offset + w and adds its bias, so both are divided by the scale.
void BlockTensors::FoldIntoNorm(const NormPlan& norm, std::span<const float> scale) {
  const float offset = norm.parameters.weight_offset;
  std::vector<float>& weight = Vector(norm.name + ".weight");
  for (size_t c = 0; c < scale.size(); ++c) {
    if (offset == 0) {
      weight[c] /= scale[c];
    } else {
      // The stored weight w' fulfils offset + w' = (offset + w) / scale.
      weight[c] = (offset + weight[c]) / scale[c] - offset;
    }
  }

  if (!norm.has_bias) return;
  std::vector<float>& bias = Vector(norm.name + ".bias");
  for (size_t c = 0; c < scale.size(); ++c) bias[c] /= scale[c];
}

// A linear layer produces the input channel by channel: its rows and biases are divided.
void BlockTensors::FoldIntoProducer(const std::string& producer, std::span<const float> scale) {
  Matrix& weight = Weight(producer);
  changed_weights_[producer] = true;
  std::vector<float>& bias = Vector(producer + ".bias");
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (float& w : weight.row(r)) w /= scale[r];
    if (!bias.empty()) bias[r] /= scale[r];
  }

  is_transformed_[Find(producer).first] = true;
  // Terms that are added to the output are divided as well.
  for (OnlineTransform& output : outputs_[producer]) {
    for (size_t r = 0; r < scale.size(); ++r) output.factors[r] /= scale[r];
  }
}

void BlockTensors::Apply(size_t input, std::string_view transform, const InputEdit& edit,
                         const Context& context) {
  if (!edit.choice.empty()) choices_[input].push_back(StrCat(transform, ": ", edit.choice));
  if (edit.shift.empty() && edit.scale.empty()) return;
  is_transformed_[input] = true;
  // The shift comes first: the readers' outputs get W·shift again, with W as it is before the
  // scale.
  if (!edit.shift.empty()) {
    for (const LinearSite& linear : inputs_[input].sites) {
      outputs_[linear.name].push_back(MakeOutputShift(Weight(linear.name), edit.shift));
    }
    online_[input].push_back(MakeInputShift(edit.shift));
  }

  if (edit.scale.empty()) return;
  if (CanFold(input) && !edit.keep_online) {
    FoldScale(input, edit.scale);
    // (x − z)/s = x/s − z/s
    for (OnlineTransform& online : online_[input]) {
      if (online.kind != OnlineTransform::Kind::kShift) continue;

      for (size_t c = 0; c < edit.scale.size(); ++c) online.factors[c] /= edit.scale[c];
    }
  } else {
    online_[input].push_back(MakeInputScale(edit.scale));
  }

  // The readers see x/s, so the columns of W are multiplied by s.
  for (const LinearSite& linear : inputs_[input].sites) {
    Matrix& weight = Weight(linear.name);
    weight = ScaleColumns(weight, edit.scale, context);
    changed_weights_[linear.name] = true;
  }
}

void BlockTensors::PutInto(DecoderBlock& block, const Context& context) {
  for (const NormPlan& norm : NormsOf(block.plan())) {
    block.Norm(norm.name).weight = Vector(norm.name + ".weight");
    if (norm.has_bias) block.Norm(norm.name).bias = Vector(norm.name + ".bias");
  }

  // Weights that no transform touched stay as the block was built.
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (is_transformed_[i]) PutReaders(i, block, context);
  }
}

// Each reader gets its weight with the operations before and after it.
void BlockTensors::PutReaders(size_t input, DecoderBlock& block, const Context& context) {
  for (const LinearSite& linear : inputs_[input].sites) {
    const Matrix& weight = Weight(linear.name);
    std::vector<OnlineTransform> transforms = online_[input];
    const std::vector<OnlineTransform>& outputs = outputs_[linear.name];
    transforms.insert(transforms.end(), outputs.begin(), outputs.end());
    block.Linear(linear.name).weight = WithTransforms(
        MakeDenseWeight({weight.data(), DType::kF32, weight.rows(), weight.cols()}, context),
        transforms);
    block.Linear(linear.name).bias = Vector(linear.name + ".bias");
  }
}

std::vector<ChangedTensor> BlockTensors::Changed(std::span<const std::string> quantized) {
  // Norms and biases that were loaded, changed or not, then changed weights that stay float.
  std::vector<ChangedTensor> changed;
  for (const auto& [name, values] : vectors_) {
    if (!values.empty()) changed.push_back({FullName(name), {values.size()}, values});
  }

  for (const auto& [linear, is_changed] : changed_weights_) {
    const std::string name = FullName(linear);
    if (std::ranges::find(quantized, name) != quantized.end()) continue;
    const Matrix& weight = Weight(linear);
    changed.push_back({name + ".weight",
                       {weight.rows(), weight.cols()},
                       {weight.data(), weight.data() + weight.rows() * weight.cols()}});
  }
  return changed;
}

}  // namespace qualm
