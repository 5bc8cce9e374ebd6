// Adds up what a run will need, block by block, and measures what this machine does in a second.
#include "quantize/plan.h"

#include <algorithm>
#include <chrono>

#include "artefact/stored_bytes.h"
#include "base/rng.h"
#include "model/block_cost.h"
#include "model/checkpoint.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

// Sums over the layers of some blocks, and what the largest of them needs at once.
struct Costs {
  double forward_flops_per_token = 0;
  double collect_flops_per_token = 0;  // Gram matrices
  double round_flops = 0;
  double measure_flops_per_token = 0;
  uint64_t stored_bytes = 0;
  // The largest block's.
  uint64_t block_bytes = 0, block_stored_bytes = 0;
  // The largest of all inputs; with parallel layers the sum over a block's inputs, which are
  // collected at the same time.
  uint64_t gram_bytes = 0;
  uint64_t factor_bytes = 0, weight_elements = 0;
  uint64_t sample_columns = 0;  // of a token sample, summed in the same way
  size_t widest = 0, held_values = 0;
};

uint64_t GramBytes(const Rounder& rounder, size_t inputs) {
  return uint64_t{inputs} * inputs * (rounder.needs_gram64() ? sizeof(double) : sizeof(float));
}

// What rounding the layers that read one input needs.
struct InputCosts {
  uint64_t block_bytes = 0, stored_bytes = 0;
  uint64_t gram_bytes = 0;  // the largest Gram matrix that one of its rounders reads
  bool is_sampled = false;
};

InputCosts AddInput(const Checkpoint& checkpoint, const Recipe& recipe, size_t b,
                    const SiteInput& input, Costs& costs) {
  InputCosts result;
  for (const LinearSite& site : input.sites) {
    const std::string name = checkpoint.plan().NameIn(b, site.name);
    const LayerPlan plan = recipe.PlanFor(name);
    const uint64_t float_bytes = checkpoint.WeightBytes(name);
    result.block_bytes += float_bytes;
    if (plan.skip) {
      result.stored_bytes += float_bytes;
      continue;
    }

    result.is_sampled = true;
    result.stored_bytes += EstimateStoredBytes(plan.scheme, site.out, site.in);
    // A Gram method updates every column by every earlier one; other methods are estimated at 40
    // operations per weight.
    const double weights = static_cast<double>(site.in) * static_cast<double>(site.out);
    costs.measure_flops_per_token += 4 * weights;
    costs.weight_elements = std::max<uint64_t>(costs.weight_elements, site.out * site.in);
    if (plan.rounder->needs_gram()) {
      // Layers of an input share a matrix of each precision and, where their options are the same,
      // its factor; counted as shared.
      costs.round_flops += ColumnUpdateOps(site.out, site.in);
      if (result.gram_bytes == 0) costs.round_flops += FactorOps(site.in);
      result.gram_bytes = std::max(result.gram_bytes, GramBytes(*plan.rounder, site.in));
    } else {
      costs.round_flops += 40 * weights;
    }
  }
  return result;
}

// Adds block `b` to the costs.
void AddBlock(const Checkpoint& checkpoint, const Recipe& recipe, size_t sequence_length, size_t b,
              Costs& costs) {
  const bool parallel = recipe.layer_order == Order::kParallel;
  const BlockPlan& block = checkpoint.plan().blocks[b];
  uint64_t block_bytes = 0, stored_bytes = 0, gram_bytes = 0, sample_columns = 0;
  for (const SiteInput& input : SiteInputs(block)) {
    const InputCosts one = AddInput(checkpoint, recipe, b, input, costs);
    block_bytes += one.block_bytes;
    stored_bytes += one.stored_bytes;
    if (one.gram_bytes > 0) {
      costs.collect_flops_per_token +=
          static_cast<double>(input.width) * static_cast<double>(input.width);
    }

    // With parallel layers all inputs of a block are collected at the same time.
    const uint64_t columns = one.is_sampled ? input.width : 0;
    gram_bytes = parallel ? gram_bytes + one.gram_bytes : std::max(gram_bytes, one.gram_bytes);
    sample_columns = parallel ? sample_columns + columns : std::max(sample_columns, columns);
    costs.factor_bytes = std::max(costs.factor_bytes, 2 * one.gram_bytes);
  }

  const TokenCounts counts = CountsOf(block);
  costs.widest = std::max(costs.widest, counts.widest_input);
  costs.held_values = std::max(costs.held_values, counts.held_values);
  costs.forward_flops_per_token += 2 * counts.linear_weights;
  // A score and a sum for each position that a query sees, a multiply-add each.
  const AttentionPlan* attention = AttentionOf(block);
  if (attention != nullptr && sequence_length > 0) {
    const double length = static_cast<double>(sequence_length);
    costs.forward_flops_per_token += 4 * static_cast<double>(attention->query.out) *
                                     PairsSeen(attention->window, length) / length;
  }
  costs.stored_bytes += stored_bytes;
  costs.block_bytes = std::max(costs.block_bytes, block_bytes);
  costs.block_stored_bytes = std::max(costs.block_stored_bytes, stored_bytes);
  costs.gram_bytes = std::max(costs.gram_bytes, gram_bytes);
  costs.sample_columns = std::max(costs.sample_columns, sample_columns);
}

// Sequential layers go through the block once; parallel ones once to collect and once to advance;
// sequential layers whose next block sees float inputs also need a second pass.
double PassesPerBlock(const Recipe& recipe) {
  return recipe.layer_order == Order::kSequential && recipe.block_order == Order::kSequential ? 1
                                                                                              : 2;
}

}  // namespace

double MeasureFlops(const Context& context) {
  constexpr size_t kTokens = 512, kSize = 1024;
  Matrix x(kTokens, kSize), w(kSize, kSize), y(kTokens, kSize);
  Rng rng(1);
  for (size_t i = 0; i < kTokens; ++i) {
    for (float& v : x.row(i)) v = static_cast<float>(rng.Uniform());
  }
  for (size_t i = 0; i < kSize; ++i) {
    for (float& v : w.row(i)) v = static_cast<float>(rng.Uniform());
  }

  // The best of three runs: the first one also warms up the caches.
  auto weight = MakeDenseWeight({w.data(), DType::kF32, kSize, kSize}, context);
  double best = 1e30;
  for (int i = 0; i < 3; ++i) {
    auto start = std::chrono::steady_clock::now();
    weight->Multiply(x, y, context);
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }

  return 2.0 * kTokens * kSize * kSize / best;
}

Plan MakePlan(const QuantizeOptions& options, const Context& context) {
  Checkpoint checkpoint = Checkpoint::Open(options.model);
  const size_t blocks = checkpoint.plan().blocks.size(),
               hidden_size = checkpoint.plan().hidden_size;

  // What there is to do.
  Plan plan;
  plan.blocks = options.stop_after_blocks ? std::min(*options.stop_after_blocks, blocks) : blocks;
  if (options.calibration) {
    plan.calibration_tokens = options.calibration->tokens();
    plan.held_out_tokens = options.calibration->held_out.size() * options.calibration->length;
  }

  double flops = MeasureFlops(context);
  plan.gflops = flops / 1e9;
  auto calibration = static_cast<double>(plan.calibration_tokens);
  auto all = calibration + static_cast<double>(plan.held_out_tokens);

  Costs costs;
  for (size_t b = 0; b < plan.blocks; ++b) {
    AddBlock(checkpoint, options.recipe, options.calibration ? options.calibration->length : 0, b,
             costs);
  }

  // Memory while a chunk of tokens is in the block.
  uint64_t chunk = std::min<uint64_t>(2048, plan.calibration_tokens);
  uint64_t activations = chunk * (3 * hidden_size + 2 * costs.widest) * sizeof(float);
  uint64_t samples =
      2 * std::min<uint64_t>(2048, plan.calibration_tokens) * costs.sample_columns * sizeof(float);

  // Times and memory of the three stages. Rounding is estimated at half as much again for its work
  // outside the products.
  plan.stages.push_back({"forward and collect",
                         (all * PassesPerBlock(options.recipe) * costs.forward_flops_per_token +
                          calibration * costs.collect_flops_per_token) /
                             flops,
                         activations + costs.gram_bytes + samples});
  plan.stages.push_back({"round", costs.round_flops / flops * 1.5,
                         costs.gram_bytes + costs.factor_bytes +
                             3 * costs.weight_elements * sizeof(float) + samples});

  double sampled =
      std::min(2048.0, calibration) + std::min(2048.0, static_cast<double>(plan.held_out_tokens));
  plan.stages.push_back({"measure", sampled * costs.measure_flops_per_token / flops,
                         costs.gram_bytes + costs.factor_bytes / 2 +
                             4 * costs.weight_elements * sizeof(float) + samples});
  // Sequential layers keep the values of all tokens that wait inside a block, and a copy of the
  // block's inputs if the next block must see the float block's output.
  bool staged = options.recipe.layer_order == Order::kSequential;
  bool saved = staged && options.recipe.block_order == Order::kParallel;
  uint64_t hidden = static_cast<uint64_t>(all) *
                    (hidden_size * (saved ? 2 : 1) + (staged ? costs.held_values : 0)) *
                    sizeof(float);

  plan.resident_bytes =
      (options.spill ? 0 : hidden) + costs.block_bytes + costs.block_stored_bytes * 2;

  // Only one stage runs at a time, so the largest counts.
  uint64_t largest = 0;
  for (const PlanStage& stage : plan.stages) {
    plan.seconds += stage.seconds;
    largest = std::max(largest, stage.memory_bytes);
  }
  plan.peak_memory_bytes = plan.resident_bytes + largest;

  // Disk: the stored blocks, spilled hidden states, and all tensors outside the blocks.
  plan.disk_bytes = costs.stored_bytes + (options.spill ? hidden : 0);
  for (const std::string& name : checkpoint.tensors().names()) {
    if (!name.starts_with(checkpoint.plan().block_prefix)) {
      plan.disk_bytes += checkpoint.tensors().BytesOf(name);
    }
  }
  return plan;
}

}  // namespace qualm
