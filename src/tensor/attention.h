// Causal attention: each query weighs the values at its own and earlier positions, which a cache
// holds. One definition serves prompts, single tokens and batches of sequences.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

#include "tensor/matrix.h"

namespace qualm {

struct Context;

// Keys and values of one block of one sequence.
// Keys: per kv head, blocks of kKeyBlock positions, each [head_dim][kKeyBlock] (transposed, so that
// scores of neighbouring positions are neighbouring lanes). Values: per kv head [capacity,
// head_dim].
//
// Fewer places than the sequence has positions make a ring: position p lies where p modulo the
// places does, and replaces what was there. Who attends to a window needs no more.
//
// With `key_group_tokens` > 0 the queries of position t read the keys of the groups of positions
// that are complete with t from `grouped_keys`, which the owner fills.
struct AttentionCache {
  // `capacity` places, rounded up to a multiple of kKeyBlock and of the groups.
  AttentionCache(size_t kv_heads, size_t head_dim, size_t capacity, size_t key_group_tokens = 0);
  // Stores key and value of `position` (each [kv_heads·head_dim]).
  void Store(size_t position, std::span<const float> key, std::span<const float> value);

  const float* KeyBlock(size_t kv_head, size_t block) const;
  const float* GroupedKeyBlock(size_t kv_head, size_t block) const;
  float* GroupedKeyBlock(size_t kv_head, size_t block);
  const float* ValuesFrom(size_t kv_head, size_t position) const;  // rows to the end of its block

  size_t kv_heads, head_dim, capacity, key_group_tokens;
  AlignedArray<float> keys, values;
  AlignedArray<float> grouped_keys;  // laid out as `keys`; empty without key_group_tokens
};

// One run of new tokens of one sequence: query row i has position first_position + i, and sees the
// positions of the cache up to its own, at most the last AttentionParameters::window of them.
struct AttentionJob {
  const AttentionCache* cache = nullptr;
  size_t first_position = 0;
  Span2D<const float> queries;  // [tokens, heads·head_dim], rope applied
  Span2D<float> out;            // same shape
};

// How queries and keys give scores. The same holds for all jobs of a call.
struct AttentionParameters {
  size_t heads = 0;   // of the queries; a multiple of the cache's kv_heads
  float scale = 1;    // score = scale·(q·k)
  size_t window = 0;  // positions that a query sees, its own included; 0: all
  // Above 0: a score becomes soft_cap·tanh(score/soft_cap) (Gemma 2, 2024).
  float soft_cap = 0;
  // [heads] or empty. A score grows by slope·(key position - query position), after the cap (ALiBi:
  // Press et al. 2021). The slopes must outlive the call.
  std::span<const float> alibi_slopes = {};
  // The published code of Falcon: what a score grows by is slope·key position, times `scale`; the
  // slope, the position and their product are rounded to bfloat16.
  bool alibi_in_bfloat16 = false;
};

// 1/sqrt(head_dim), the usual AttentionParameters::scale.
inline float ScaleOfHeadDim(size_t head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

// softmax(scores)·v with an online softmax over key blocks: memory does not grow with the square of
// the length, and a query's sums depend on absolute positions alone.
void Attention(std::span<const AttentionJob> jobs, const AttentionParameters& parameters,
               const Context& context);

}  // namespace qualm
