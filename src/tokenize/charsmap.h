// SentencePiece's precompiled character map: the longest of its strings at a place in the text is
// replaced. Format: uint32 little-endian size of a Darts double-array trie in bytes, the trie
// (units of uint32), then the replacements, each ended by a zero byte; the trie's values are their
// offsets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

class Charsmap {
 public:
  // An empty map replaces nothing. Throws bad input at `place` if sizes, offsets or the encoding of
  // `blob` are wrong.
  Charsmap(std::string_view blob, std::string_view place);

  bool empty() const { return units_.empty(); }

  struct Match {
    size_t length = 0;             // bytes replaced; 0: nothing of the map begins here
    std::string_view replacement;  // lives as long as this
  };
  Match Longest(std::string_view text) const;
  Match Shortest(std::string_view text) const;

 private:
  Match Find(std::string_view text, bool stop_at_first) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace qualm
