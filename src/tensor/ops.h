// The float operations of a decoder block besides the linear layers.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "tensor/matrix.h"

namespace qualm {

class ThreadPool;

// out[t] = x[t] · 1/sqrt(mean(x[t]²) + eps) · weight, per row; the mean in double. Shapes [tokens,
// n].
void RmsNorm(Span2D<const float> x, std::span<const float> weight, double eps, Span2D<float> out,
             ThreadPool& pool);

// cos and sin of position·inverse_frequency[i] for some positions, computed in double.
struct RopeTable {
  RopeTable(std::span<const size_t> positions, std::span<const double> inverse_frequency);
  Matrix cosine, sine;  // [positions, head_dim/2]
};

// Rotates the pairs (x[i], x[i + half]), i < half = head_dim/2, of every head by the angles of one
// row of a RopeTable (Su et al. 2021, in the "rotate half" order of Hugging Face checkpoints). x
// [heads·head_dim].
void ApplyRope(std::span<float> x, std::span<const float> cosine, std::span<const float> sine);

// Keys and values of one block of one sequence.
// Keys: per kv head, blocks of kKeyBlock positions, each [head_dim][kKeyBlock] (transposed, so that
// scores of neighbouring positions are neighbouring lanes). Values: per kv head [capacity,
// head_dim].
//
// With `key_group_tokens` > 0 the queries of position t read the keys of the
// groups of positions that are complete with t from `grouped_keys`, which the owner fills.
struct AttentionCache {
  AttentionCache(size_t kv_heads, size_t head_dim, size_t capacity, size_t key_group_tokens = 0);
  // Stores key and value of `position` (each [kv_heads·head_dim]).
  void Store(size_t position, std::span<const float> key, std::span<const float> value);

  const float* KeyBlock(size_t kv_head, size_t block) const;
  const float* GroupedKeyBlock(size_t kv_head, size_t block) const;
  float* GroupedKeyBlock(size_t kv_head, size_t block);
  const float* ValuesFrom(size_t kv_head, size_t position) const;  // rows of head_dim floats

  size_t kv_heads, head_dim, capacity, key_group_tokens;
  AlignedArray<float> keys, values;
  AlignedArray<float> grouped_keys;  // laid out as `keys`; empty without key_group_tokens
};

// One run of new tokens of one sequence: query row i has position first_position + i, and sees the
// positions of the cache up to its own, but no more than the last `window` of them (0: all).
struct AttentionJob {
  const AttentionCache* cache = nullptr;
  size_t first_position = 0;
  Span2D<const float> queries;  // [tokens, heads·head_dim], rope applied
  Span2D<float> out;            // same shape
};

// softmax(q·k/sqrt(head_dim))·v with an online softmax over key blocks: memory does not grow with
// the square of the length, and a query's sums depend on absolute positions alone.
void Attention(std::span<const AttentionJob> jobs, size_t heads, size_t window, ThreadPool& pool);

// gate[t][i] = silu(gate[t][i])·up[t][i]
void GatedSilu(Span2D<float> gate, Span2D<const float> up, ThreadPool& pool);

// to += from, per element. `bias` is added to every row.
void AddRows(Span2D<float> to, Span2D<const float> from, ThreadPool& pool);
void AddBias(Span2D<float> to, std::span<const float> bias);

// log Σ exp(logits) of one row, in double.
double LogSumExp(std::span<const float> logits);

}  // namespace qualm
