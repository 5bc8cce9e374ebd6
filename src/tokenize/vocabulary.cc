// Pieces are found by a hash table whose slots hold ids.
#include "tokenize/vocabulary.h"

#include <cstring>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

uint64_t Mix(uint64_t value) {
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93u;
  return value ^ value >> 32;
}

// At most 60 bytes of a piece for a message.
std::string Quoted(std::string_view piece) {
  return piece.size() <= 60 ? StrCat("'", piece, "'") : StrCat("'", piece.substr(0, 60), "...'");
}

}  // namespace

uint64_t HashShort(std::string_view bytes) {
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t hash = 0x9e3779b97f4a7c15u * (left + 1);
  auto load8 = [](const char* from) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    return word;
  };
  auto load4 = [](const char* from) {
    uint32_t word;
    std::memcpy(&word, from, 4);
    return uint64_t{word};
  };
  for (; left > 8; at += 8, left -= 8) hash = Mix(hash ^ load8(at));
  // The last 0 to 8 bytes without a loop: overlapping loads cover them.
  uint64_t last = 0;
  if (left >= 4) {
    last = load4(at) << 32 | load4(at + left - 4);
  } else if (left > 0) {
    auto byte = [at](size_t i) { return uint64_t{static_cast<unsigned char>(at[i])}; };
    last = byte(0) << 16 | byte(left / 2) << 8 | byte(left - 1);
  }
  return Mix(hash ^ last);
}

void Vocabulary::RequireFree(std::string_view piece, int64_t id, std::string_view place) const {
  if (id < 0 || id > kMaxId) {
    ThrowBadInput(place, StrCat("token ids from 0 to ", kMaxId), StrCat(Quoted(piece), ": ", id));
  }
  if (Has(static_cast<TokenId>(id))) {
    ThrowBadInput(place, "every id once",
                  StrCat("id ", id, " for ", Quoted(Piece(static_cast<TokenId>(id))), " and ",
                         Quoted(piece)));
  }
}

void Vocabulary::Add(std::string_view piece, int64_t id, std::string_view place) {
  RequireFree(piece, id, place);
  if (Find(piece) >= 0) {
    ThrowBadInput(place, "every piece once", StrCat(Quoted(piece), " again at id ", id));
  }
  if (piece.size() > UINT32_MAX) ThrowBadInput(place, "pieces below 4 GiB", "a longer one");
  const auto index = static_cast<size_t>(id);
  if (index >= entries_.size()) entries_.resize(index + 1);
  entries_[index] = {text_.size(), static_cast<uint32_t>(piece.size()), true};
  text_ += piece;
  if (++used_ * 2 > slots_.size()) {
    Grow();
  } else {
    slots_[SlotOf(piece)] = static_cast<TokenId>(id);
  }
}

void Vocabulary::AddOrRepoint(std::string_view piece, int64_t id, std::string_view place) {
  const TokenId known = Find(piece);
  if (known < 0) {
    Add(piece, id, place);
    return;
  }
  RequireFree(piece, id, place);
  const Entry entry = entries_[static_cast<size_t>(known)];
  const auto index = static_cast<size_t>(id);
  if (index >= entries_.size()) entries_.resize(index + 1);
  entries_[index] = entry;
  slots_[SlotOf(piece)] = static_cast<TokenId>(id);
}

size_t Vocabulary::SlotOf(std::string_view piece) const {
  size_t slot = HashShort(piece) & (slots_.size() - 1);
  while (slots_[slot] >= 0 && Piece(slots_[slot]) != piece) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

// In the order of the ids; of those with the same piece the last stays.
void Vocabulary::Grow() {
  slots_.assign(std::max<size_t>(16, slots_.size() * 2), -1);
  for (size_t id = 0; id < entries_.size(); ++id) {
    if (!entries_[id].used) continue;
    slots_[SlotOf(Piece(static_cast<TokenId>(id)))] = static_cast<TokenId>(id);
  }
}

TokenId Vocabulary::Find(std::string_view piece) const {
  return slots_.empty() ? -1 : slots_[SlotOf(piece)];
}

std::string_view Vocabulary::Piece(TokenId id) const {
  if (!Has(id)) return {};
  const Entry& entry = entries_[static_cast<size_t>(id)];
  return std::string_view(text_).substr(entry.offset, entry.length);
}

bool Vocabulary::Has(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < entries_.size() &&
         entries_[static_cast<size_t>(id)].used;
}

}  // namespace qualm
