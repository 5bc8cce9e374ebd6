// A decoder as a ScoringModel: each window is a sequence with its own cache.
#include "evaluate/scoring_model.h"

#include "model/decoder.h"

namespace qualm {

size_t DecoderScoringModel::vocab_size() const { return decoder_.plan.vocab_size(); }

Matrix DecoderScoringModel::Hidden(std::span<const std::vector<TokenId>> windows,
                                   const Context& context) const {
  // The caches live only during the forward pass: with two models in one evaluation, only one
  // model's keys and values are in memory.
  std::vector<KvCache> caches;
  caches.reserve(windows.size());
  std::vector<SequenceSlice> slices;
  for (const std::vector<TokenId>& window : windows) {
    caches.push_back(decoder_.MakeCache(window.size(), /*rollback=*/0));
    slices.push_back({.cache = &caches.back(), .ids = window});
  }
  return decoder_.Forward(slices, context);
}

void DecoderScoringModel::Logits(Span2D<const float> hidden, Span2D<float> logits,
                                 const Context& context) const {
  decoder_.Logits(hidden, logits, context);
}

}  // namespace qualm
