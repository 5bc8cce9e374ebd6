// Byte strings stored by their prefixes, for finding the longest one at a place in a text.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace qualm {

class ByteTrie {
 public:
  // `value` >= 0; a string added again takes the newer value. Requires: `text` not empty.
  void Add(std::string_view text, int32_t value);
  bool empty() const { return values_.size() == 1; }
  bool CanStartWith(char c) const { return first_bytes_[static_cast<unsigned char>(c)]; }

  struct Match {
    size_t length = 0;  // 0: nothing stored begins here
    int32_t value = -1;
  };
  // The longest stored string that `text` begins with.
  Match Longest(std::string_view text) const;

  // Walking by hand: the root is node 0; Child is -1 where there is none, Value is -1 where no
  // string ends.
  int32_t Child(int32_t node, char c) const;
  int32_t Value(int32_t node) const { return values_[static_cast<size_t>(node)]; }

 private:
  std::vector<int32_t> values_ = {-1};              // by node
  std::unordered_map<uint64_t, int32_t> children_;  // node << 8 | byte -> node
  std::bitset<256> first_bytes_;
};

}  // namespace qualm
