// What every tokenizer promises of the ids it gives.
#pragma once

#include <cstddef>
#include <span>

#include "base/error.h"
#include "tokenize/tokenizer.h"

namespace qualm::fuzz {

inline void CheckIds(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  for (TokenId id : ids) {
    QUALM_CHECK(id >= 0 && static_cast<size_t>(id) < tokenizer.vocab_size());
  }
}

}  // namespace qualm::fuzz
