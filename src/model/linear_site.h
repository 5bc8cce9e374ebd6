// The places of a decoder block where linear layers and norms sit, as data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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

// Which rows of a stored tensor are a layer's, where a checkpoint keeps several layers in one: runs
// of `run` rows, `step` rows apart, from row `first` on. The bias, if there is one, is cut in the
// same way.
struct StoredRows {
  std::string tensor;  // inside the block, without ".weight"
  size_t first = 0;
  size_t run = 0, step = 0;  // run 0: all rows of the layer lie together
  bool transposed = false;   // the tensor is [in, rows], as GPT-2's
};

// A logical linear layer, y = W·x + b.
struct LinearSite {
  std::string name;  // inside the block ("self_attn.q_proj"); of the head: in full
  SiteRole role = SiteRole::kQuery;
  size_t out = 0, in = 0;      // of W, [out, in]
  bool requires_bias = false;  // in a block, a bias that the checkpoint has is used in any case
  // None: the checkpoint has the layer under its own name. A checkpoint that has both is read by
  // the layer's own name, as a quantized folder is.
  std::optional<StoredRows> stored = {};
};

// A norm of rows, or of groups of neighbouring values in a row (the heads of queries), and its
// tensors NAME.weight and NAME.bias, each [width] or, with weights for each group, [groups, width].
struct NormPlan {
  std::string name;  // inside the block; of the last norm: in full
  size_t width = 0;  // values that are normalized together
  NormParameters parameters;
  bool has_bias = false;
  bool has_weight = true;
  size_t groups = 1;  // that have separate weights; 1: all share them
  // Where a checkpoint keeps the groups' weights apart: their common name, followed by a group's
  // number and ".weight". Empty: they are one tensor.
  std::string stored_by_group = {};

  size_t weights() const { return groups * width; }
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
