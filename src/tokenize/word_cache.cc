// An open-addressed hash table from words to their ids. It grows up to a bound; after that, new
// words are not remembered, so memory stays limited for any text.
#include "tokenize/word_cache.h"

#include "tokenize/vocabulary.h"

namespace qualm {

size_t WordCache::SlotOf(std::string_view word, uint64_t hash) const {
  size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  for (; slots_[slot].used; slot = (slot + 1) & mask) {
    const Slot& at = slots_[slot];
    if (at.hash != hash || at.word_length != word.size()) continue;
    if (std::string_view(words_).substr(at.word_offset, at.word_length) == word) break;
  }
  return slot;
}

bool WordCache::AppendIds(std::string_view word, std::vector<TokenId>& out) const {
  if (slots_.empty() || word.size() > kLongestWord) return false;
  const Slot& slot = slots_[SlotOf(word, HashShort(word))];
  if (!slot.used) return false;
  const TokenId* first = ids_.data() + slot.ids_offset;
  out.insert(out.end(), first, first + slot.ids_count);
  return true;
}

void WordCache::Remember(std::string_view word, std::span<const TokenId> ids) {
  if (word.size() > kLongestWord) return;
  if ((used_ + 1) * 2 > slots_.size()) {
    if (slots_.size() == kMostSlots) return;
    Grow();
  }
  uint64_t hash = HashShort(word);
  // At most 64 bytes and, with byte fallback, 64 ids a word: the offsets stay below 2^32.
  slots_[SlotOf(word, hash)] = {hash,
                                static_cast<uint32_t>(words_.size()),
                                static_cast<uint32_t>(word.size()),
                                static_cast<uint32_t>(ids_.size()),
                                static_cast<uint32_t>(ids.size()),
                                true};
  words_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++used_;
}

void WordCache::Grow() {
  std::vector<Slot> old(slots_.empty() ? kFirstSlots : slots_.size() * 4);
  old.swap(slots_);
  size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (!slot.used) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].used) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

}  // namespace qualm
