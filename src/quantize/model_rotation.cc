// Rotates a checkpoint's tensors when they are asked for: which rotation a tensor gets follows from
// its site's role and from what its input reads, so no family is named here.
#include "quantize/model_rotation.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"

namespace qualm {
namespace {

// Smaller Hadamard blocks mix too few channels to spread an outlier.
constexpr size_t kSmallestBlock = 16;

// The largest Hadamard block of the width; throws if it is too small to be useful.
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

// Layers whose output is added to the hidden states.
bool Writes(SiteRole role) { return role == SiteRole::kAttentionOutput || role == SiteRole::kDown; }

bool HasRole(const SiteInput& input, SiteRole role) {
  return std::ranges::find(input.sites, role, &LinearSite::role) != input.sites.end();
}

// A norm commutes with a rotation if it only divides by the length and multiplies channels.
void RequireCommuting(const NormPlan& norm) {
  if (norm.parameters.kind == NormKind::kRms && !norm.has_bias) return;
  ThrowBadInput("quarot", "RMS norms without bias, which commute with a rotation",
                StrCat("another norm, ", norm.name), "use {quarot: {residual: false}}");
}

// What lies between tables and blocks must be linear in the hidden states, and have a place for the
// rotation.
void RequirePlainSurroundings(const ModelPlan& plan) {
  if (plan.final_norm) RequireCommuting(*plan.final_norm);
  if (plan.embedding_norm) RequireCommuting(*plan.embedding_norm);
  const char* obstacle = plan.positions        ? "learned positions"
                         : plan.embedding_norm ? "a norm of the embedding"
                         : plan.project_in || plan.project_out
                             ? "projections after the embedding and before the head"
                             : nullptr;
  if (obstacle == nullptr) return;
  ThrowBadInput("quarot", "hidden states that come from the embedding and go to the head", obstacle,
                "use {quarot: {residual: false}}");
}

// The residual stream can be rotated if all norms that read it commute and none follows a branch.
void RequireRotatableResidual(const ModelPlan& plan) {
  (void)BlockOf(plan.hidden_size, "hidden states");
  RequirePlainSurroundings(plan);
  // A norm after a branch would act on the rotated sum.
  for (const BlockPlan& block : plan.blocks) {
    for (const Branch& branch : block.branches) {
      if (branch.norm) RequireCommuting(*branch.norm);
      // The norm's weight goes into its readers, and would be missing in the sum.
      if (branch.adds_to_norm) {
        ThrowBadInput("quarot", "branches that are added to what they read",
                      StrCat("one that adds to its norm, ", branch.norm->name),
                      "use {quarot: {residual: false}}");
      }
      const std::optional<NormPlan>& after =
          branch.norm_after ? branch.norm_after : branch.norm_of_sum;
      if (!after) continue;
      ThrowBadInput("quarot", "branches whose output is added to the hidden states as it is",
                    StrCat("one with a norm after it, ", after->name),
                    "use {quarot: {residual: false}}");
    }
  }
}

// What a norm multiplies its channels by, [width]; empty: nothing.
std::vector<float> FactorsOf(const NormPlan& norm, std::vector<float> weight) {
  if (norm.parameters.weight_offset != 0) {
    for (float& v : weight) v += norm.parameters.weight_offset;
  }
  return weight;
}

}  // namespace

void RequireRotatable(const ModelPlan& plan, const RotationOptions& options) {
  if (options.residual) RequireRotatableResidual(plan);
  for (const BlockPlan& block : plan.blocks) {
    const AttentionPlan* attention = AttentionOf(block);
    if (options.heads && attention != nullptr) {
      (void)BlockOf(attention->head_dim, "heads");
      if (attention->clip > 0) {
        ThrowBadInput("quarot", "values that go into the sums as they are", "clamped ones",
                      "use {quarot: {heads: false}}");
      }
    }
    for (const SiteInput& input : SiteInputs(block)) {
      if (options.online && HasRole(input, SiteRole::kDown)) (void)BlockOf(input.width, "the MLP");
    }
  }
}

ModelRotation::ModelRotation(const Checkpoint& checkpoint, const RotationOptions& options,
                             const Context& context)
    : checkpoint_(checkpoint), plan_(checkpoint.plan()), options_(options), context_(context) {
  RequireRotatable(plan_, options);
  if (options.residual) {
    const size_t block = BlockOf(plan_.hidden_size, "hidden states");
    residual_ = MakeHadamard(plan_.hidden_size, block, options.seed);
  }
  if (!options.heads) return;

  // Values are rotated head by head. The input of the output layer has a head for every query.
  for (const BlockPlan& block : plan_.blocks) {
    const AttentionPlan* attention = AttentionOf(block);
    if (attention == nullptr) continue;
    for (const size_t width : {attention->value.out, attention->output.in}) {
      std::unique_ptr<Rotation>& rotation = heads_[{width, attention->head_dim}];
      if (rotation != nullptr) continue;
      rotation = MakePlainHadamard(width, BlockOf(attention->head_dim, "heads"));
    }
  }
}

const Rotation& ModelRotation::OfHeads(size_t width, size_t head_dim) const {
  return *heads_.at({width, head_dim});
}

// The rotation of an input that is done at run time.
OnlineTransform ModelRotation::OnlineOf(size_t width) const {
  OnlineTransform online;
  online.kind = OnlineTransform::Kind::kHadamard;
  online.seed = options_.seed;
  online.dims = {static_cast<uint32_t>(BlockOf(width, "the MLP"))};
  return online;
}

Matrix ModelRotation::Weight(const SiteInput& input, const LinearSite& site, size_t block) const {
  Matrix weight = ToMatrix(checkpoint_.Weight(plan_.NameIn(block, site.name)));

  // Input side first: readers of the hidden states take the norm's weight and Q.
  if (options_.residual && input.reads_residual) {
    if (input.norm) {
      const std::string norm = plan_.NameIn(block, input.norm->name);
      MultiplyColumns(weight, FactorsOf(*input.norm, checkpoint_.NormWeight(*input.norm, norm)));
    }
    RotateRows(*residual_, /*transposed=*/false, weight, context_);
  }

  // Then the rotations inside the branch, which cancel between two layers or with the online one.
  const AttentionPlan* attention = AttentionOf(plan_.blocks[block]);
  if (options_.heads && site.role == SiteRole::kValue) {
    RotateColumns(OfHeads(site.out, attention->head_dim), /*transposed=*/false, weight, context_);
  }
  if (options_.heads && site.role == SiteRole::kAttentionOutput) {
    RotateRows(OfHeads(site.in, attention->head_dim), /*transposed=*/false, weight, context_);
  }
  if (options_.online && site.role == SiteRole::kDown) {
    const std::unique_ptr<Rotation> inner = RotationOf(OnlineOf(site.in), site.in);
    RotateRows(*inner, /*transposed=*/false, weight, context_);
  }

  // Output side last: writers of the hidden states.
  if (options_.residual && Writes(site.role)) {
    RotateColumns(*residual_, /*transposed=*/false, weight, context_);
  }
  return weight;
}

// Only a layer's output rotations touch its bias.
std::vector<float> ModelRotation::Bias(const LinearSite& site, size_t block) const {
  std::vector<float> bias = checkpoint_.BiasOf(plan_.NameIn(block, site.name));
  if (bias.empty()) return bias;
  if (options_.heads && site.role == SiteRole::kValue) {
    OfHeads(site.out, AttentionOf(plan_.blocks[block])->head_dim).Apply(bias);
  }
  if (options_.residual && Writes(site.role)) residual_->Apply(bias);
  return bias;
}

// The stored weight with which a norm multiplies by one.
std::vector<float> ModelRotation::Neutral(const NormPlan& norm) const {
  if (!norm.has_weight) return {};
  return std::vector<float>(norm.width, 1.0f - norm.parameters.weight_offset);
}

std::vector<float> ModelRotation::Norm(const NormPlan& norm, size_t block) const {
  if (options_.residual) return Neutral(norm);
  return checkpoint_.NormWeight(norm, plan_.NameIn(block, norm.name));
}

std::vector<OnlineTransform> ModelRotation::Online(const SiteInput& input) const {
  if (!options_.online || !HasRole(input, SiteRole::kDown)) return {};
  return {OnlineOf(input.width)};
}

Matrix ModelRotation::Embedding() const {
  Matrix table = ToMatrix(checkpoint_.EmbeddingWeight());
  if (options_.residual) RotateRows(*residual_, /*transposed=*/false, table, context_);
  return table;
}

// The head reads the last norm's output, like a layer inside a block.
Matrix ModelRotation::Head() const {
  Matrix memory;
  Matrix head = ToMatrix(checkpoint_.HeadWeight(memory));
  if (!options_.residual) return head;
  if (const auto& norm = plan_.final_norm) {
    MultiplyColumns(head, FactorsOf(*norm, checkpoint_.NormWeight(*norm, norm->name)));
  }
  RotateRows(*residual_, /*transposed=*/false, head, context_);
  return head;
}

std::vector<float> ModelRotation::FinalNorm() const {
  const NormPlan& norm = *plan_.final_norm;
  if (options_.residual) return Neutral(norm);
  return checkpoint_.NormWeight(norm, norm.name);
}

}  // namespace qualm
