#include "quantize/plan.h"

#include <algorithm>
#include <chrono>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "model/checkpoint.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

// Rate of the dense product at 512 x 1024 x 1024, the best of three.
double MeasureFlops(ThreadPool& pool) {
  constexpr size_t kTokens = 512, kSize = 1024;
  Matrix x(kTokens, kSize), w(kSize, kSize), y(kTokens, kSize);
  Rng rng(1);
  for (size_t i = 0; i < kTokens; ++i) {
    for (float& v : x.row(i)) v = static_cast<float>(rng.Uniform());
  }
  for (size_t i = 0; i < kSize; ++i) {
    for (float& v : w.row(i)) v = static_cast<float>(rng.Uniform());
  }
  auto weight = MakeDenseWeight({w.data(), DType::kF32, kSize, kSize}, pool);
  double best = 1e30;
  for (int i = 0; i < 3; ++i) {
    auto start = std::chrono::steady_clock::now();
    weight->Multiply(x, y, pool);
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * kTokens * kSize * kSize / best;
}

// Sums over the layers of one block.
struct BlockCosts {
  double forward_flops_per_token = 0;
  double collect_flops_per_token = 0;  // Gram matrices
  double passes = 1;                   // forward passes per block, in whole blocks
  double round_flops = 0;
  double measure_flops_per_token = 0;
  uint64_t block_bytes = 0, stored_bytes = 0;
  uint64_t largest_gram = 0, largest_weight = 0;  // elements
  size_t widest = 0;
};

BlockCosts CostsOf(const Checkpoint& checkpoint, const Recipe& recipe) {
  BlockCosts costs;
  const ModelConfig& config = checkpoint.config();
  const Family& family = checkpoint.family();
  for (const LinearGroup& group : family.groups) {
    auto in = static_cast<double>(SizeOf(group.in, config));
    bool gram = false;
    for (const LinearSpec& linear : group.linears) {
      size_t out = SizeOf(linear.out, config), inputs = SizeOf(group.in, config);
      std::string name = LinearName(family, 0, linear.name);
      LayerPlan plan = recipe.PlanFor(name);
      double product = 2 * in * static_cast<double>(out);
      costs.forward_flops_per_token += product;
      costs.block_bytes += checkpoint.Weight(name).size_bytes();
      if (plan.skip) {
        costs.stored_bytes += checkpoint.Weight(name).size_bytes();
        continue;
      }
      costs.stored_bytes += EstimateStoredBytes(plan.scheme, out, inputs);
      costs.measure_flops_per_token += 2 * product;
      costs.largest_weight = std::max<uint64_t>(costs.largest_weight, out * inputs);
      if (plan.rounder->needs_gram()) {
        gram = true;
        // Column updates n²·out, the factor and its inverse 2/3·n³.
        costs.round_flops += in * in * static_cast<double>(out) + in * in * in * 2 / 3;
      } else {
        costs.round_flops += 40.0 * in * static_cast<double>(out);
      }
    }
    if (gram) {
      costs.collect_flops_per_token += in * in;
      costs.largest_gram = std::max<uint64_t>(costs.largest_gram,
                                              SizeOf(group.in, config) * SizeOf(group.in, config));
    }
    costs.widest = std::max(costs.widest, SizeOf(group.in, config));
  }
  // Sequential layers go through the block once, parallel ones once to collect and once to advance;
  // sequential layers before a block that sees float inputs once more.
  bool default_order =
      recipe.layer_order == Order::kSequential && recipe.block_order == Order::kSequential;
  costs.passes = default_order ? 1 : 2;
  return costs;
}

}  // namespace

uint64_t EstimateStoredBytes(const Scheme& scheme, size_t out, size_t in) {
  size_t groups = scheme.GroupCount(in);
  size_t scale_rows = scheme.granularity == Granularity::kTensor ? 1 : out;
  uint64_t bytes = out * PackedRowBytes(in, scheme.bits);
  bytes += scale_rows * groups * SizeOf(scheme.scale_type);
  if (scheme.zero_point == ZeroPointKind::kInteger) {
    bytes += scale_rows * PackedRowBytes(groups, scheme.bits);
  } else if (scheme.zero_point == ZeroPointKind::kFloat) {
    bytes += scale_rows * groups * SizeOf(scheme.scale_type);
  }
  return bytes;
}

Plan MakePlan(const QuantizeOptions& options, ThreadPool& pool) {
  Checkpoint checkpoint = Checkpoint::Open(options.model);
  const ModelConfig& config = checkpoint.config();
  BlockCosts costs = CostsOf(checkpoint, options.recipe);
  Plan plan;
  plan.blocks = options.stop_after_blocks ? std::min(*options.stop_after_blocks, config.layers)
                                          : config.layers;
  if (options.calibration) {
    plan.calibration_tokens = options.calibration->tokens();
    plan.held_out_tokens = options.calibration->held_out.size() * options.calibration->length;
  }
  double flops = MeasureFlops(pool);
  plan.gflops = flops / 1e9;
  auto calibration = static_cast<double>(plan.calibration_tokens);
  auto all = calibration + static_cast<double>(plan.held_out_tokens);
  auto blocks = static_cast<double>(plan.blocks);

  uint64_t chunk = std::min<uint64_t>(2048, plan.calibration_tokens);
  uint64_t activations = chunk * (3 * config.hidden_size + 2 * costs.widest) * sizeof(float);
  uint64_t samples = 2 * std::min<uint64_t>(2048, plan.calibration_tokens) * costs.widest * 4;
  uint64_t gram = costs.largest_gram * sizeof(float);
  plan.stages.push_back({"forward and collect",
                         blocks *
                             (all * costs.passes * costs.forward_flops_per_token +
                              calibration * costs.collect_flops_per_token) /
                             flops,
                         activations + gram + samples});
  plan.stages.push_back({"round", blocks * costs.round_flops / flops * 1.5,
                         3 * gram + 3 * costs.largest_weight * sizeof(float) + samples});
  double sampled =
      std::min(2048.0, calibration) + std::min(2048.0, static_cast<double>(plan.held_out_tokens));
  plan.stages.push_back({"measure", blocks * sampled * costs.measure_flops_per_token / flops,
                         gram + 4 * costs.largest_weight * sizeof(float) + samples});
  // Sequential layers keep the widest inputs of all tokens between two groups.
  bool staged = options.recipe.layer_order == Order::kSequential;
  uint64_t hidden = static_cast<uint64_t>(all) *
                    (config.hidden_size + (staged ? costs.widest : 0)) * sizeof(float);
  plan.resident_bytes = (options.spill ? 0 : hidden) + costs.block_bytes + costs.stored_bytes * 2;
  uint64_t largest = 0;
  for (const PlanStage& stage : plan.stages) {
    plan.seconds += stage.seconds;
    largest = std::max(largest, stage.memory_bytes);
  }
  plan.peak_memory_bytes = plan.resident_bytes + largest;
  plan.disk_bytes = costs.stored_bytes * plan.blocks + (options.spill ? hidden : 0);
  for (const TensorView& tensor : checkpoint.tensors().tensors()) {
    if (!tensor.name.starts_with(checkpoint.family().block_prefix)) {
      plan.disk_bytes += tensor.bytes.size();
    }
  }
  return plan;
}

}  // namespace qualm
