// Checks the sizes that the file claims, then walks the double array byte by byte.
#include "tokenize/charsmap.h"

#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// The bit fields of one unit (Yata's double array as darts-clone stores it). A node's children
// start at its index xor its offset; the child for a byte is that index xor the byte, and it must
// carry the byte as its label. A node with a leaf has its value in the unit for byte 0.
bool IsValue(uint32_t unit) { return unit >> 31 != 0; }
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t ValueOf(uint32_t unit) { return unit & 0x7fffffffu; }
uint32_t LabelOf(uint32_t unit) { return unit & 0x800000ffu; }
uint32_t OffsetOf(uint32_t unit) { return unit >> 10 << ((unit & 0x200u) >> 6); }

bool StartsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

}  // namespace

Charsmap::Charsmap(std::string_view blob, std::string_view place) {
  if (blob.empty()) return;
  auto fail = [&](std::string_view got) {
    ThrowBadInput(place, "a precompiled character map", got);
  };
  uint32_t trie_bytes = 0;
  if (blob.size() < sizeof trie_bytes) fail(StrCat(blob.size(), " bytes"));
  std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  blob.remove_prefix(sizeof trie_bytes);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes >= blob.size()) {
    fail(StrCat("a trie of ", trie_bytes, " bytes in ", blob.size()));
  }
  units_.resize(trie_bytes / 4);
  std::memcpy(units_.data(), blob.data(), trie_bytes);
  replacements_ = blob.substr(trie_bytes);
  if (replacements_.back() != '\0') fail("replacements without their last zero byte");
  if (!IsValidUtf8(replacements_)) fail("replacements that are not UTF-8");
  for (size_t node = 0; node < units_.size(); ++node) {
    if (IsValue(units_[node]) || !HasLeaf(units_[node])) continue;
    size_t leaf = node ^ OffsetOf(units_[node]);
    if (leaf >= units_.size()) fail(StrCat("a leaf at unit ", leaf, " of ", units_.size()));
    uint32_t value = ValueOf(units_[leaf]);
    if (value >= replacements_.size() || !StartsCharacter(replacements_[value])) {
      fail(StrCat("the replacement at byte ", value, " of ", replacements_.size()));
    }
  }
}

Charsmap::Match Charsmap::Longest(std::string_view text) const {
  return Find(text, /*stop_at_first=*/false);
}

Charsmap::Match Charsmap::Shortest(std::string_view text) const {
  return Find(text, /*stop_at_first=*/true);
}

Charsmap::Match Charsmap::Find(std::string_view text, bool stop_at_first) const {
  Match best;
  if (units_.empty()) return best;
  size_t node = OffsetOf(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || LabelOf(units_[node]) != byte) break;
    uint32_t unit = units_[node];
    node ^= OffsetOf(unit);
    if (!HasLeaf(unit)) continue;
    best.length = i + 1;
    uint32_t start = ValueOf(units_[node]);
    best.replacement = replacements_.data() + start;  // up to its zero byte
    if (stop_at_first) break;
  }
  return best;
}

}  // namespace qualm
