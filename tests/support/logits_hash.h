// The bits of a model's logits as one hash: of a text that goes through it at once, and of the same
// text token by token from the cache.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/rng.h"
#include "io/hash.h"
#include "model/decoder.h"
#include "tensor/matrix.h"

namespace qualm::testing {

inline std::vector<TokenId> RandomTokens(size_t count, size_t vocabulary, uint64_t seed) {
  Rng rng(seed);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(rng.Below(vocabulary));
  return ids;
}

// `step` tokens go through the model at a time.
inline std::string LogitsHash(const Decoder& decoder, std::span<const TokenId> ids, size_t step,
                              const Context& context) {
  KvCache cache = decoder.MakeCache(ids.size());
  Hasher hasher;
  for (size_t first = 0; first < ids.size(); first += step) {
    const std::span<const TokenId> piece = ids.subspan(first, std::min(step, ids.size() - first));
    const Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, piece}}, context);
    Matrix logits(piece.size(), decoder.plan.vocab_size());
    decoder.Logits(hidden, logits, context);
    hasher.Add(logits.data(), logits.rows() * logits.cols() * sizeof(float));
  }
  return hasher.Hex();
}

inline std::string PrefillHash(const Decoder& decoder, std::span<const TokenId> ids,
                               const Context& context) {
  return LogitsHash(decoder, ids, ids.size(), context);
}

inline std::string CachedHash(const Decoder& decoder, std::span<const TokenId> ids,
                              const Context& context) {
  return LogitsHash(decoder, ids, 1, context);
}

}  // namespace qualm::testing
