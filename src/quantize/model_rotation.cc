#include "quantize/model_rotation.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "kernels/transformed_weight.h"

namespace qualm {
namespace {

// Blocks below this mix too few channels to spread an outlier.
constexpr size_t kSmallestBlock = 16;

size_t BlockOf(size_t width, const char* what) {
  const size_t block = LargestHadamardBlock(width);
  if (block >= std::min(width, kSmallestBlock)) return block;
  ThrowBadInput("quarot",
                StrCat("a width of ", what, " with a Hadamard block of at least ", kSmallestBlock),
                StrCat(width, ", whose largest one is ", block), "leave this rotation out");
}

void MultiplyColumns(Matrix& weight, std::span<const float> factors) {
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (size_t c = 0; c < factors.size(); ++c) weight(r, c) *= factors[c];
  }
}

}  // namespace

void RequireRotatable(const ModelConfig& config, const RotationOptions& options) {
  if (options.residual) (void)BlockOf(config.hidden_size, "hidden states");
  if (options.heads) (void)BlockOf(config.head_dim, "heads");
  if (options.online) (void)BlockOf(config.intermediate_size, "the MLP");
}

ModelRotation::ModelRotation(const Checkpoint& checkpoint, const RotationOptions& options,
                             ThreadPool& pool)
    : checkpoint_(checkpoint), family_(checkpoint.family()), options_(options), pool_(pool) {
  const ModelConfig& config = checkpoint.config();
  if (options.residual) {
    const size_t block = BlockOf(config.hidden_size, "hidden states");
    residual_ = MakeHadamard(config.hidden_size, block, options.seed);
  }
  if (options.heads) {
    const size_t block = BlockOf(config.head_dim, "heads");
    values_ = MakePlainHadamard(config.kv_features(), block);
    attended_ = MakePlainHadamard(config.q_features(), block);
  }
  if (options.online) {
    online_.kind = OnlineTransform::Kind::kHadamard;
    online_.seed = options.seed;
    online_.dims = {static_cast<uint32_t>(BlockOf(config.intermediate_size, "the MLP"))};
    inner_ = RotationOf(online_, config.intermediate_size);
  }
}

bool ModelRotation::Reads(size_t group) const {
  return !family_.groups[group].preceding_norm.empty();
}

bool ModelRotation::Writes(size_t group) const { return !Reads(group); }

bool ModelRotation::IsMlpOutput(size_t group) const {
  return family_.groups[group].in == Width::kIntermediate;
}

// What the attention's output layer reads, channel by channel.
bool ModelRotation::IsValue(const LinearSpec& linear) const {
  return std::ranges::any_of(family_.groups, [&](const LinearGroup& group) {
    return group.in == Width::kQuery && group.preceding_linear == linear.name;
  });
}

Matrix ModelRotation::Weight(size_t group, const LinearSpec& linear, size_t block) const {
  Matrix weight = ToMatrix(checkpoint_.Weight(LinearName(family_, block, linear.name)));
  if (options_.residual && Reads(group)) {
    MultiplyColumns(
        weight, checkpoint_.Vector(
                    LinearName(family_, block, family_.groups[group].preceding_norm) + ".weight"));
    RotateRows(*residual_, /*transposed=*/false, weight, pool_);
  }
  if (options_.heads && IsValue(linear)) {
    RotateColumns(*values_, /*transposed=*/false, weight, pool_);
  }
  if (options_.heads && family_.groups[group].in == Width::kQuery) {
    RotateRows(*attended_, /*transposed=*/false, weight, pool_);
  }
  if (options_.online && IsMlpOutput(group)) {
    RotateRows(*inner_, /*transposed=*/false, weight, pool_);
  }
  if (options_.residual && Writes(group)) {
    RotateColumns(*residual_, /*transposed=*/false, weight, pool_);
  }
  return weight;
}

std::vector<float> ModelRotation::Bias(size_t group, const LinearSpec& linear, size_t block) const {
  std::vector<float> bias = checkpoint_.BiasOf(LinearName(family_, block, linear.name));
  if (bias.empty()) return bias;
  if (options_.heads && IsValue(linear)) values_->Apply(bias);
  if (options_.residual && Writes(group)) residual_->Apply(bias);
  return bias;
}

std::vector<float> ModelRotation::Norm(const std::string& name, size_t block) const {
  std::vector<float> norm = checkpoint_.Vector(LinearName(family_, block, name) + ".weight");
  if (options_.residual) std::ranges::fill(norm, 1.0f);
  return norm;
}

std::vector<OnlineTransform> ModelRotation::Online(size_t group) const {
  if (!options_.online || !IsMlpOutput(group)) return {};
  return {online_};
}

Matrix ModelRotation::Embedding() const {
  Matrix table = ToMatrix(checkpoint_.EmbeddingWeight());
  if (options_.residual) RotateRows(*residual_, /*transposed=*/false, table, pool_);
  return table;
}

Matrix ModelRotation::Head() const {
  Matrix head = ToMatrix(checkpoint_.HeadWeight());
  if (!options_.residual) return head;
  MultiplyColumns(head, checkpoint_.Vector(family_.final_norm + ".weight"));
  RotateRows(*residual_, /*transposed=*/false, head, pool_);
  return head;
}

std::vector<float> ModelRotation::FinalNorm() const {
  std::vector<float> norm = checkpoint_.Vector(family_.final_norm + ".weight");
  if (options_.residual) std::ranges::fill(norm, 1.0f);
  return norm;
}

}  // namespace qualm
