// The shared decoder: pre-norm attention and gated MLP blocks with rotary embeddings, as used by
// all families. Any mix of sequences and lengths in one call; a sequence's numbers do not depend on
// what else is in the batch or on the number of threads.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/family.h"
#include "model/kv_cache.h"
#include "tensor/linear.h"
#include "tensor/ops.h"
#include "tokenize/tokenizer.h"

namespace qualm {

class ThreadPool;

// New tokens of one sequence; their positions follow cache->length().
struct SequenceSlice {
  KvCache* cache = nullptr;
  std::span<const TokenId> ids;
};

// A linear layer in place: its weight and bias.
struct LinearLayer {
  std::string name;  // "model.layers.3.self_attn.q_proj"
  std::unique_ptr<LinearWeight> weight;
  std::vector<float> bias;  // empty: none
};

// Sees the input [tokens, in] of each group of linear layers (its index in Family::groups) before
// the group is applied.
using GroupObserver = std::function<void(size_t group, Span2D<const float> input)>;

class DecoderBlock {
 public:
  // `config` and `family` must outlive the block; `index` is its place in the model.
  DecoderBlock(const ModelConfig& config, const Family& family, size_t index);

  std::vector<float> attention_norm, mlp_norm;
  LinearLayer q, k, v, o, gate, up, down;
  LinearLayer& Linear(std::string_view name);  // by its name inside the block
  size_t index() const { return index_; }

  // hidden [tokens, hidden_size] is replaced by the block's output. Tokens of all slices follow one
  // another. Keys and values go to block `cache_block` of each slice's cache at positions from
  // cache->length() on (which the caller moves afterwards); `rope` has one row per token.
  void Forward(std::span<const SequenceSlice> slices, const RopeTable& rope, size_t cache_block,
               Span2D<float> hidden, ThreadPool& pool, const GroupObserver& observer = {}) const;

  // The steps of Forward, one by one, for callers that change the weights in between. What each
  // returns is the input of the next group of linear layers.
  Matrix AttentionInput(Span2D<const float> hidden, ThreadPool& pool) const;
  Matrix Attended(std::span<const SequenceSlice> slices, const RopeTable& rope, size_t cache_block,
                  Span2D<const float> input, ThreadPool& pool) const;
  void AddAttentionOutput(Span2D<const float> attended, Span2D<float> hidden,
                          ThreadPool& pool) const;
  Matrix MlpInput(Span2D<const float> hidden, ThreadPool& pool) const;
  Matrix Gated(Span2D<const float> input, ThreadPool& pool) const;
  void AddMlpOutput(Span2D<const float> gated, Span2D<float> hidden, ThreadPool& pool) const;

 private:
  const ModelConfig& config_;
  const Family& family_;
  size_t index_;
};

// The rotary angles of all new tokens of `slices`.
RopeTable RopeOf(const ModelConfig& config, std::span<const SequenceSlice> slices);

// Rows of the embedding, kept as stored. The memory behind `weight` must outlive the table.
struct EmbeddingTable {
  WeightView weight;  // [vocab, hidden]
  // Throws bad input if an id is outside the vocabulary.
  void Lookup(std::span<const TokenId> ids, Span2D<float> out) const;
};

class Decoder {
 public:
  ModelConfig config;
  const Family* family = nullptr;
  EmbeddingTable embedding;
  std::vector<std::unique_ptr<DecoderBlock>> blocks;
  std::vector<float> final_norm;
  LinearLayer head;

  KvCache MakeCache(size_t capacity) const { return KvCache(config, blocks.size(), capacity); }

  // Final-normed hidden states of all new tokens, [tokens, hidden_size]; caches grow by the slices.
  // Throws bad input if a cache has no room or an id is outside the vocabulary.
  Matrix Forward(std::span<const SequenceSlice> slices, ThreadPool& pool) const;
  // Logits [rows, vocab] of chosen hidden rows.
  void Logits(Span2D<const float> hidden, Span2D<float> logits, ThreadPool& pool) const;

  uint64_t weight_bytes() const;  // read once per decoded token: blocks and head
};

}  // namespace qualm
