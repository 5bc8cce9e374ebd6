// What a part of a decoder block (attention, MLP) is to the block that runs it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/kv_cache.h"
#include "model/linear_site.h"
#include "model/rotary.h"
#include "tensor/linear.h"
#include "tokenize/tokenizer.h"

namespace qualm {

struct Context;

// New tokens of one sequence; their positions follow cache->length().
struct SequenceSlice {
  KvCache* cache = nullptr;
  std::span<const TokenId> ids;
};

// The rotary angles of all new tokens of some slices, computed once for each kind of rotation.
class RotaryTables {
 public:
  // The slices must outlive this.
  explicit RotaryTables(std::span<const SequenceSlice> slices) : slices_(slices) {}
  // One row per token. The reference stays valid as long as this object.
  const RopeTable& For(const RotaryPlan& plan);

 private:
  RopeTable Make(const RotaryPlan& plan) const;

  std::span<const SequenceSlice> slices_;
  std::vector<std::pair<RotaryPlan, std::unique_ptr<RopeTable>>> tables_;
};

// The tokens of one forward pass through a block. Keys and values go to block `cache_block` of each
// slice's cache, at positions from cache->length() on.
struct BlockPass {
  std::span<const SequenceSlice> slices;
  RotaryTables* rotary = nullptr;
  size_t cache_block = 0;
};

// A linear layer in place: its weight and bias.
struct LinearLayer {
  std::string name;  // "model.layers.3.self_attn.q_proj"
  std::unique_ptr<LinearWeight> weight;
  std::vector<float> bias;  // empty: none

  // x·Wᵀ + b. Shapes [tokens, in], [tokens, out].
  void Apply(Span2D<const float> x, Span2D<float> y, const Context& context) const;
  Matrix Apply(Span2D<const float> x, const Context& context) const;
};

// A norm in place.
struct NormLayer {
  NormPlan plan;
  std::vector<float> weight, bias;  // [plan.weights()]; empty: none

  // Rows of plan.width values, or of several groups of them. x may be out.
  void Apply(Span2D<const float> x, Span2D<float> out, const Context& context) const;
};

// A part that runs. It is a chain of values: the first is what the branch hands in, each step runs
// the linear layers that read one value (and what follows them) and gives the next, and the last
// step gives the part's output. Calibration stops between two steps.
class BlockPart {
 public:
  virtual ~BlockPart() = default;
  // In the order of the plan's inputs and their sites.
  virtual std::span<LinearLayer> linears() = 0;
  // In the order of InnerNormsOf.
  virtual std::span<NormLayer> norms() { return {}; }
  // From the value of input `step`, [tokens, its width], to the value of the next input, or, after
  // the last one, to the part's output [tokens, hidden].
  virtual Matrix Step(size_t step, const BlockPass& pass, Span2D<const float> value,
                      const Context& context) const = 0;
};

}  // namespace qualm
