// The places of a decoder block where linear layers and norms sit, as data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/ops.h"

namespace qualm {

// What a linear layer does in its part. Methods ask for roles, never for names.
enum class SiteRole : uint8_t {
  kQuery,
  kKey,
  kValue,
  kAttentionOutput,
  kGate,
  kUp,
  kDown,
  kHead,
};

// Whether the layer's output goes into the attention scores.
inline bool FeedsScores(SiteRole role) {
  return role == SiteRole::kQuery || role == SiteRole::kKey;
}

// A logical linear layer, y = W·x + b.
struct LinearSite {
  std::string name;  // inside the block ("self_attn.q_proj"); of the head: in full
  SiteRole role = SiteRole::kQuery;
  size_t out = 0, in = 0;      // of W, [out, in]
  bool requires_bias = false;  // in a block, a bias that the checkpoint has is used in any case
};

// A norm and its tensors NAME.weight and, if `has_bias`, NAME.bias, each [width].
struct NormPlan {
  std::string name;  // inside the block; of the last norm: in full
  size_t width = 0;
  NormParameters parameters;
  bool has_bias = false;
};

// A value inside a part that some of its linear layers read.
struct PartInput {
  std::string name;  // "attention_input"; used in timings and random streams
  size_t width = 0;
  std::vector<LinearSite> sites;
  // The step that reads it mixes the tokens of a sequence: it needs the pass's slices.
  bool needs_sequences = false;
  // The linear layer each of whose outputs scales one channel of this value (or, with grouped
  // queries, the channels of several heads): where a scale of the value can go. Empty: none.
  std::string producer;
};

}  // namespace qualm
