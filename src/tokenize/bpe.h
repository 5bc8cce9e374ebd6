// Byte-pair encoding: which adjacent symbols merge, in which order, and where they never can.
// Input: the symbols of a text's characters or bytes; output: the symbols after all merges.
// The pair of lowest rank merges first, the leftmost of equals; both SentencePiece and
// tokenizer.json mean this (Sennrich et al. 2016).
#pragma once

#include <bitset>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

// (left, right) -> rank and result, by open addressing.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = 0;
    TokenId result = -1;
  };

  // A pair given again takes the newer rank. Requires: left, right >= 0.
  void Add(TokenId left, TokenId right, uint32_t rank, TokenId result);
  // Null if the pair does not merge; negative symbols never do.
  const Merge* Find(TokenId left, TokenId right) const;
  size_t size() const { return used_; }

  // Runs all merges over `symbols` in place, but those whose result is `forbidden`. Time n log n in
  // the number of symbols.
  void Apply(std::vector<TokenId>& symbols, TokenId forbidden = -1) const;

 private:
  struct Slot {
    uint64_t key = kFree;
    Merge merge;
  };
  static constexpr uint64_t kFree = ~uint64_t{0};

  size_t SlotOf(uint64_t key) const;
  void Grow();
  void ApplyByScanning(std::vector<TokenId>& symbols, TokenId forbidden) const;
  void ApplyByHeap(std::vector<TokenId>& symbols, TokenId forbidden) const;

  std::vector<Slot> slots_;
  size_t used_ = 0;
};

// Which pairs of adjacent units (code points, or bytes) some merge can bring into one piece.
// Between any other two the text may be cut and its parts encoded apart: no merge reaches across.
class MergeReach {
 public:
  void Add(uint32_t last_unit_of_left, uint32_t first_unit_of_right);
  bool CanMerge(uint32_t left_unit, uint32_t right_unit) const {
    unsigned left = Small(left_unit), right = Small(right_unit);
    if (left < kSmall && right < kSmall) return small_[left * kSmall + right];
    return others_.contains(uint64_t{left_unit} << 32 | right_unit);
  }

 private:
  // Bytes and the visible blank U+2581, which is in nearly every pair, are looked up without
  // hashing.
  static constexpr unsigned kSmall = 257;
  static unsigned Small(uint32_t unit) {
    return unit < 256 ? unit : unit == 0x2581 ? 256u : kSmall;
  }

  std::bitset<size_t{kSmall} * kSmall> small_;
  std::unordered_set<uint64_t> others_;
};

}  // namespace qualm
