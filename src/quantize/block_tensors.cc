#include "quantize/block_tensors.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
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
      family_(checkpoint.family()),
      block_(block),
      rotation_(rotation),
      online_(family_.groups.size()),
      choices_(family_.groups.size()),
      is_transformed_(family_.groups.size(), false) {
  if (rotation_ != nullptr) LoadRotated();
}

void BlockTensors::LoadRotated() {
  for (const std::string& norm : {family_.attention_norm, family_.mlp_norm}) {
    vectors_[norm + ".weight"] = rotation_->Norm(norm, block_);
  }
  for (size_t g = 0; g < family_.groups.size(); ++g) {
    is_transformed_[g] = true;
    online_[g] = rotation_->Online(g);
    for (const LinearSpec& linear : family_.groups[g].linears) {
      vectors_[linear.name + ".bias"] = rotation_->Bias(g, linear, block_);
      changed_weights_[linear.name] = true;
    }
  }
}

std::string BlockTensors::FullName(std::string_view name) const {
  return LinearName(family_, block_, name);
}

Matrix& BlockTensors::Weight(const std::string& linear) {
  auto found = weights_.find(linear);
  if (found == weights_.end()) {
    found = weights_.emplace(linear, Load(linear)).first;
  }
  return found->second;
}

Matrix BlockTensors::Load(const std::string& linear) const {
  for (size_t g = 0; rotation_ != nullptr && g < family_.groups.size(); ++g) {
    for (const LinearSpec& spec : family_.groups[g].linears) {
      if (spec.name == linear) return rotation_->Weight(g, spec, block_);
    }
  }
  return ToMatrix(checkpoint_.Weight(FullName(linear)));
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

bool BlockTensors::CanFold(size_t group) const {
  const LinearGroup& g = family_.groups[group];
  // A scale overtakes scales and shifts of single channels on its way back, but no rotation.
  const bool can_overtake = std::ranges::all_of(online_[group], [](const OnlineTransform& t) {
    return t.kind == OnlineTransform::Kind::kScale || t.kind == OnlineTransform::Kind::kShift;
  });
  if (!can_overtake) return false;
  if (!g.preceding_norm.empty()) return true;
  for (const LinearGroup& other : family_.groups) {
    for (const LinearSpec& linear : other.linears) {
      // With grouped queries a value head is read by several heads: no scale per input is its.
      if (linear.name != g.preceding_linear) continue;
      return SizeOf(linear.out, checkpoint_.config()) == SizeOf(g.in, checkpoint_.config());
    }
  }
  return false;
}

void BlockTensors::FoldScale(size_t group, std::span<const float> scale) {
  const LinearGroup& g = family_.groups[group];
  if (!g.preceding_norm.empty()) {
    std::vector<float>& norm = Vector(g.preceding_norm + ".weight");
    for (size_t c = 0; c < scale.size(); ++c) norm[c] /= scale[c];
    return;
  }
  Matrix& weight = Weight(g.preceding_linear);
  changed_weights_[g.preceding_linear] = true;
  std::vector<float>& bias = Vector(g.preceding_linear + ".bias");
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (float& w : weight.row(r)) w /= scale[r];
    if (!bias.empty()) bias[r] /= scale[r];
  }
  for (size_t other = 0; other < family_.groups.size(); ++other) {
    for (const LinearSpec& linear : family_.groups[other].linears) {
      if (linear.name != g.preceding_linear) continue;
      is_transformed_[other] = true;
      // What was to be added to the output is divided with it.
      for (OnlineTransform& output : outputs_[linear.name]) {
        for (size_t r = 0; r < scale.size(); ++r) output.factors[r] /= scale[r];
      }
    }
  }
}

void BlockTensors::Apply(size_t group, std::string_view transform, const InputEdit& edit,
                         ThreadPool& pool) {
  if (!edit.choice.empty()) choices_[group].push_back(StrCat(transform, ": ", edit.choice));
  if (edit.shift.empty() && edit.scale.empty()) return;
  is_transformed_[group] = true;
  if (!edit.shift.empty()) {
    for (const LinearSpec& linear : family_.groups[group].linears) {
      outputs_[linear.name].push_back(MakeOutputShift(Weight(linear.name), edit.shift));
    }
    online_[group].push_back(MakeInputShift(edit.shift));
  }
  if (edit.scale.empty()) return;
  if (CanFold(group) && !edit.keep_online) {
    FoldScale(group, edit.scale);
    // (x − z)/s = x/s − z/s
    for (OnlineTransform& online : online_[group]) {
      if (online.kind != OnlineTransform::Kind::kShift) continue;
      for (size_t c = 0; c < edit.scale.size(); ++c) online.factors[c] /= edit.scale[c];
    }
  } else {
    online_[group].push_back(MakeInputScale(edit.scale));
  }
  for (const LinearSpec& linear : family_.groups[group].linears) {
    Matrix& weight = Weight(linear.name);
    weight = ScaleColumns(weight, edit.scale, pool);
    changed_weights_[linear.name] = true;
  }
}

void BlockTensors::PutInto(DecoderBlock& block, ThreadPool& pool) {
  block.attention_norm = Vector(family_.attention_norm + ".weight");
  block.mlp_norm = Vector(family_.mlp_norm + ".weight");
  for (size_t g = 0; g < family_.groups.size(); ++g) {
    if (is_transformed_[g]) PutGroup(g, block, pool);
  }
}

void BlockTensors::PutGroup(size_t group, DecoderBlock& block, ThreadPool& pool) {
  for (const LinearSpec& linear : family_.groups[group].linears) {
    const Matrix& weight = Weight(linear.name);
    std::vector<OnlineTransform> transforms = online_[group];
    const std::vector<OnlineTransform>& outputs = outputs_[linear.name];
    transforms.insert(transforms.end(), outputs.begin(), outputs.end());
    block.Linear(linear.name).weight = WithTransforms(
        MakeDenseWeight({weight.data(), DType::kF32, weight.rows(), weight.cols()}, pool),
        transforms);
    block.Linear(linear.name).bias = Vector(linear.name + ".bias");
  }
}

std::vector<ChangedTensor> BlockTensors::Changed(std::span<const std::string> quantized) {
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
