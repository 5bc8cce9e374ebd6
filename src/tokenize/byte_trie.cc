// The edges of the trie are found by a key of node and byte.
#include "tokenize/byte_trie.h"

#include <limits>

#include "base/error.h"

namespace qualm {
namespace {

uint64_t KeyOf(int32_t node, char c) {
  return uint64_t{static_cast<uint32_t>(node)} << 8 | static_cast<unsigned char>(c);
}

}  // namespace

void ByteTrie::Add(std::string_view text, int32_t value) {
  QUALM_CHECK(!text.empty() && value >= 0);
  first_bytes_[static_cast<unsigned char>(text[0])] = true;
  int32_t node = 0;
  for (char c : text) {
    QUALM_CHECK(values_.size() < static_cast<size_t>(std::numeric_limits<int32_t>::max()));
    auto [child, is_new] =
        children_.try_emplace(KeyOf(node, c), static_cast<int32_t>(values_.size()));
    if (is_new) values_.push_back(-1);
    node = child->second;
  }
  values_[static_cast<size_t>(node)] = value;
}

int32_t ByteTrie::Child(int32_t node, char c) const {
  auto found = children_.find(KeyOf(node, c));
  return found == children_.end() ? -1 : found->second;
}

ByteTrie::Match ByteTrie::Longest(std::string_view text) const {
  Match best;
  if (text.empty() || !CanStartWith(text[0])) return best;
  int32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    node = Child(node, text[i]);
    if (node < 0) break;
    if (Value(node) >= 0) best = {i + 1, Value(node)};
  }
  return best;
}

}  // namespace qualm
