// The decoder of all families: embedding, blocks, the last norm and the head.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/decoder_block.h"
#include "model/model_plan.h"

namespace qualm {

struct Context;

// Rows of the embedding, kept as stored. The memory behind `weight` must outlive the table.
struct EmbeddingTable {
  WeightView weight;  // [vocab, hidden]
  float scale = 1;    // of the rows that are read
  // Both throw bad input if an id is outside the vocabulary.
  void CheckIds(std::span<const TokenId> ids) const;
  void Lookup(std::span<const TokenId> ids, Span2D<float> out) const;
};

class Decoder {
 public:
  ModelPlan plan;
  EmbeddingTable embedding;
  std::vector<std::unique_ptr<DecoderBlock>> blocks;
  NormLayer final_norm;
  LinearLayer head;

  KvCache MakeCache(size_t capacity) const { return KvCache(plan, capacity); }

  // Final-normed hidden states of all new tokens, [tokens, hidden_size]; caches grow by the slices.
  // Throws bad input if a cache has no room or an id is outside the vocabulary.
  Matrix Forward(std::span<const SequenceSlice> slices, const Context& context) const;
  // Logits [rows, vocab] of chosen hidden rows.
  void Logits(Span2D<const float> hidden, Span2D<float> logits, const Context& context) const;

  uint64_t weight_bytes() const;  // read once per decoded token: blocks and head
};

}  // namespace qualm
