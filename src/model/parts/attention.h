// Attention with rotary positions: multi-head, grouped or with one key head, over all positions or
// a sliding window.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/block_part.h"
#include "model/linear_site.h"
#include "model/rotary.h"

namespace qualm {

struct AttentionPlan {
  size_t heads = 0;
  size_t kv_heads = 0;  // each is read by heads/kv_heads query heads
  size_t head_dim = 0;
  std::optional<RotaryPlan> rotary;  // none: positions are not seen
  size_t window = 0;   // a query sees itself and the window-1 positions before it; 0: all
  float scale = 0;     // of the scores q·k
  float soft_cap = 0;  // scores become cap·tanh(score/cap) (Gemma 2); 0: they stay
  LinearSite query, key, value, output;
};

// What q, k and v read; what the output layer reads.
std::vector<PartInput> InputsOf(const AttentionPlan& plan);

// `plan` must outlive the part.
std::unique_ptr<BlockPart> MakePart(const AttentionPlan& plan);

}  // namespace qualm
