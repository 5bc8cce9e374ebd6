// The one cost model of a plan: what a token costs in each part of a block, counted from the sizes
// in the plan. The roofline, the plan of a quantization run and the estimates of studies multiply
// these counts by their own numbers of tokens.
#include "model/block_cost.h"

#include <algorithm>

namespace qualm {
namespace {

// Queries and keys are rotated, values are not.
void AddPart(const AttentionPlan& plan, TokenCounts& counts) {
  if (plan.rotary) {
    counts.rotated += static_cast<double>((plan.heads + plan.kv_heads) * 2 * plan.rotary->pairs());
  }
  if (plan.norms) {
    counts.normed += static_cast<double>((plan.heads + plan.kv_heads) * plan.head_dim);
  }
}

// An activation costs one pass over the inner values; a gated one also multiplies two of them.
void AddPart(const MlpPlan& plan, TokenCounts& counts) {
  (plan.gate ? counts.gated : counts.activated) += static_cast<double>(plan.up.out);
}

// A value inside a part waits from the input whose readers make it until its own turn.
size_t HeldValues(const std::vector<SiteInput>& inputs) {
  size_t held = 0, most = 0;
  for (const SiteInput& input : inputs) {
    for (const PartStep& reader : input.readers) {
      for (const SiteInput& later : inputs) {
        const PartStep& made_for = later.readers.front();
        const bool is_made = !later.reads_residual && made_for.branch == reader.branch &&
                             made_for.step == reader.step + 1;
        if (is_made) held += later.width;
      }
    }
    most = std::max(most, held);
    if (!input.reads_residual) held -= input.width;
  }
  return most;
}

}  // namespace

// Everything is a sum, except for the widest input: buffers are made once and used by all blocks.
void TokenCounts::Add(const TokenCounts& other) {
  linear_weights += other.linear_weights;
  normed += other.normed;
  rotated += other.rotated;
  gated += other.gated;
  activated += other.activated;
  residual += other.residual;
  input_squares += other.input_squares;
  widest_input = std::max(widest_input, other.widest_input);
  held_values = std::max(held_values, other.held_values);
}

TokenCounts CountsOf(const BlockPlan& plan) {
  TokenCounts counts;

  // Linear layers, the norms in front of them, and the Gram matrices that calibration accumulates.
  const std::vector<SiteInput> inputs = SiteInputs(plan);
  counts.held_values = HeldValues(inputs);
  for (const SiteInput& input : inputs) {
    const double width = static_cast<double>(input.width);
    counts.input_squares += width * width;
    counts.widest_input = std::max(counts.widest_input, input.width);
    // Parallel branches compute a norm that they share once.
    if (input.norm) counts.normed += width;
    for (const LinearSite& site : input.sites) {
      counts.linear_weights += static_cast<double>(site.out) * static_cast<double>(site.in);
    }
  }

  // What parts do between their linear layers, and what each branch adds to the hidden states.
  for (const Branch& branch : plan.branches) {
    std::visit([&](const auto& part) { AddPart(part, counts); }, branch.part);

    // A part's last linear layer is as wide as the hidden states.
    const size_t hidden = std::visit(
        [](const auto& part) { return InputsOf(part).back().sites.back().out; }, branch.part);
    counts.residual += static_cast<double>(hidden);
    for (const std::optional<NormPlan>* norm : {&branch.norm_after, &branch.norm_of_sum}) {
      if (*norm) counts.normed += static_cast<double>((*norm)->width);
    }
  }
  return counts;
}

TokenCounts CountsOf(const ModelPlan& plan) {
  TokenCounts counts;
  for (const BlockPlan& block : plan.blocks) counts.Add(CountsOf(block));
  return counts;
}

std::vector<AttentionCount> AttentionCounts(const ModelPlan& plan) {
  std::vector<AttentionCount> counts;
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    // Blocks whose attention costs the same share an entry, so that a report has a line for each
    // kind of block.
    const AttentionPlan* attention = AttentionOf(plan.blocks[b]);
    if (attention == nullptr) continue;
    auto same = std::ranges::find_if(counts, [&](const AttentionCount& count) {
      return count.window == attention->window && count.query_width == attention->query.out &&
             count.heads == attention->heads;
    });
    if (same == counts.end()) {
      same = counts.insert(counts.end(),
                           {attention->window, attention->query.out, attention->heads, {}});
    }
    same->blocks.push_back(b);
  }

  std::ranges::stable_sort(counts, {}, &AttentionCount::window);
  return counts;
}

// Token t attends to t + 1 positions until the window is full, then to as many as the window has.
double PairsSeen(size_t window, double length) {
  const double full = window > 0 ? std::min(static_cast<double>(window), length) : length;
  return full * (full + 1) / 2 + (length - full) * full;
}

// The token that is decoded attends to itself as well.
double PositionsSeen(size_t window, double context) {
  return window > 0 ? std::min(static_cast<double>(window), context + 1) : context + 1;
}

// Each of the `in` columns updates the columns after it: in²/2 multiplications and additions per
// row.
double ColumnUpdateOps(size_t out, size_t in) {
  return static_cast<double>(in) * static_cast<double>(in) * static_cast<double>(out);
}

// A Cholesky factorization (n³/3) and the inversion of the factor (n³/3).
double FactorOps(size_t in) {
  const double n = static_cast<double>(in);
  return n * n * n * 2 / 3;
}

}  // namespace qualm
