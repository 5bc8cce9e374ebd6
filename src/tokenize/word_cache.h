// Remembers the ids of words met before, for the time of one call. Text repeats itself: most words
// of a long text are found here instead of being merged again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

class WordCache {
 public:
  // Appends the remembered ids of `word` to `out`; false if the word is not here.
  bool AppendIds(std::string_view word, std::vector<TokenId>& out) const;
  // Remembers `ids` for `word`, which must not be here yet. Long words and, once the cache is full,
  // new words are not taken in.
  void Remember(std::string_view word, std::span<const TokenId> ids);

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t word_offset = 0, word_length = 0;
    uint32_t ids_offset = 0, ids_count = 0;
    bool used = false;
  };
  static constexpr size_t kLongestWord = 64;             // bytes
  static constexpr size_t kFirstSlots = 512;             // 16 KiB
  static constexpr size_t kMostSlots = size_t{1} << 17;  // 4 MiB

  // The slot of `word`, or the free one where it would go. Requires: slots_ not empty.
  size_t SlotOf(std::string_view word, uint64_t hash) const;
  void Grow();

  std::vector<Slot> slots_;
  size_t used_ = 0;
  std::string words_;
  std::vector<TokenId> ids_;
};

}  // namespace qualm
