// The decoder of all families: embedding, blocks, the last norm and the head.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "model/decoder_block.h"
#include "model/input_layers.h"
#include "model/model_plan.h"

namespace qualm {

struct Context;

class Decoder {
 public:
  ModelPlan plan;

  InputLayers input;
  std::vector<std::unique_ptr<DecoderBlock>> blocks;
  std::optional<NormLayer> final_norm;
  std::optional<LinearLayer> project_out;
  LinearLayer head;

  KvCache MakeCache(size_t capacity, size_t rollback = KvCache::kKeepAll) const {
    return KvCache(plan, capacity, rollback);
  }

  // Final-normed hidden states of all new tokens, [tokens, hidden_size]; caches grow by the slices.
  // Throws bad input if a cache has no room or an id is outside the vocabulary.
  Matrix Forward(std::span<const SequenceSlice> slices, const Context& context) const;
  // Logits [rows, vocab] of chosen hidden rows.
  void Logits(Span2D<const float> hidden, Span2D<float> logits, const Context& context) const;

  uint64_t weight_bytes() const;  // read once per decoded token: blocks and head
};

}  // namespace qualm
