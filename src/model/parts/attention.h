// Attention: multi-head, grouped or with one key head, over all positions or a sliding window, with
// rotary positions, ALiBi or none.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "artefact/activations.h"
#include "model/block_part.h"
#include "model/linear_site.h"
#include "model/rotary.h"

namespace qualm {

// Norms of queries and keys: of each head where a norm is as wide as a head, else of all heads
// together.
struct QueryKeyNorms {
  NormPlan query, key;
  bool after_rotary = false;
};

// Queries of far positions are multiplied by 1 + beta·ln(1 + floor(position/original_context))
// (Llama 4, Ministral 3).
struct QueryGrowth {
  double beta = 0, original_context = 0;
};

struct AttentionPlan {
  size_t heads = 0;
  size_t kv_heads = 0;  // each is read by heads/kv_heads query heads
  size_t head_dim = 0;
  std::optional<RotaryPlan> rotary;  // none: positions are not seen
  size_t window = 0;   // a query sees itself and the window-1 positions before it; 0: all
  float scale = 0;     // of the scores q·k
  float soft_cap = 0;  // scores become cap·tanh(score/cap) (Gemma 2); 0: they stay
  float clip = 0;      // queries, keys and values are clamped to [-clip, clip] first; 0: they stay
  std::optional<QueryKeyNorms> norms;
  std::optional<QueryGrowth> query_growth;  // after the rotation
  std::vector<float> alibi_slopes;          // by head; empty: none (see AttentionParameters)
  bool alibi_in_bfloat16 = false;
  // Of files of other tools that configure them. Every n neighbouring values of queries and keys
  // become x·M/√n after the rotation, M [n, n] row-major; then keys, and values, are rounded on
  // their way into the cache.
  std::vector<float> head_rotation;
  size_t head_rotation_side = 0;
  std::optional<ActivationGrid> key_rounding, value_rounding;
  LinearSite query, key, value, output;
};

// Slopes of ALiBi as its authors give them (Press et al. 2021): 2^(-8(i+1)/n) for n heads, and for
// an n that is not a power of two those of the next smaller power, then every second one of the
// next larger.
std::vector<float> AlibiSlopes(size_t heads);

// What q, k and v read; what the output layer reads.
std::vector<PartInput> InputsOf(const AttentionPlan& plan);

// `plan` must outlive the part.
std::unique_ptr<BlockPart> MakePart(const AttentionPlan& plan);

}  // namespace qualm
