// Turns a text into symbols, one for each unit, lets the merges work on them, and replaces symbols
// that stand for several ids. A long text is cut where no merge can cross.
#include "tokenize/bpe_model.h"

#include <utility>

#include "base/error.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// The last character of a text that is not empty.
std::string_view LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return text.substr(at);
}

}  // namespace

void BpeModel::SetSymbol(uint32_t unit, TokenId symbol) {
  if (unit < small_symbols_.size()) {
    small_symbols_[unit] = symbol;
  } else {
    symbols_[unit] = symbol;
  }
}

TokenId BpeModel::SymbolOf(uint32_t unit) const {
  if (unit < small_symbols_.size()) return small_symbols_[unit];
  auto found = symbols_.find(unit);
  return found == symbols_.end() ? -1 : found->second;
}

void BpeModel::SetAffixes(std::string_view prefix, std::string_view suffix) {
  has_affixes_ = true;
  prefix_ = prefix;
  suffix_ = suffix;
}

void BpeModel::SetPlacedSymbol(uint32_t unit, bool is_first, bool is_last, TokenId symbol) {
  placed_symbols_[uint64_t{unit} << 2 | (is_first ? 2u : 0u) | (is_last ? 1u : 0u)] = symbol;
}

TokenId BpeModel::PlacedSymbolOf(uint32_t unit, bool is_first, bool is_last) const {
  auto found =
      placed_symbols_.find(uint64_t{unit} << 2 | (is_first ? 2u : 0u) | (is_last ? 1u : 0u));
  return found == placed_symbols_.end() ? -1 : found->second;
}

void BpeModel::AddMerge(TokenId left, TokenId right, uint32_t rank, TokenId result,
                        std::string_view left_text, std::string_view right_text) {
  QUALM_CHECK(!left_text.empty() && !right_text.empty());
  merges_.Add(left, right, rank, result);
  if (units_ == Units::kBytes) {
    reach_.Add(static_cast<unsigned char>(left_text.back()),
               static_cast<unsigned char>(right_text.front()));
  } else {
    reach_.Add(CodePoint(LastCharacter(left_text)),
               CodePoint(right_text.substr(0, CharacterLength(right_text))));
  }
}

void BpeModel::SetByteFallback(const std::array<TokenId, 256>& byte_ids) {
  byte_ids_ = byte_ids;
  has_byte_fallback_ = true;
}

void BpeModel::SetUnknown(TokenId unknown, bool fuse) {
  unknown_ = unknown;
  fuse_unknown_ = fuse;
}

void BpeModel::SetExpansion(TokenId symbol, std::vector<TokenId> ids) {
  expansions_[symbol] = std::move(ids);
}

bool BpeModel::MayVanish(uint32_t unit) const {
  if (has_byte_fallback_ || (unknown_ >= 0 && !fuse_unknown_)) return false;
  TokenId symbol = SymbolOf(unit);
  return symbol < 0 || expansions_.contains(symbol);
}

size_t BpeModel::CutLength(std::string_view text) const {
  if (!may_cut_) return text.size();
  auto unit_at = [&](size_t at, size_t* length) -> uint32_t {
    *length = units_ == Units::kBytes ? 1 : CharacterLength(text.substr(at));
    return *length == 1 ? static_cast<unsigned char>(text[at])
                        : CodePoint(text.substr(at, *length));
  };
  size_t length = 0;
  uint32_t unit = unit_at(0, &length);
  size_t end = length;
  while (end < text.size()) {
    uint32_t next = unit_at(end, &length);
    if (!reach_.CanMerge(unit, next) && !MayVanish(unit) && !MayVanish(next)) break;
    end += length;
    unit = next;
  }
  return end;
}

std::vector<TokenId> BpeModel::ExpansionOf(TokenId symbol) const {
  auto expansion = expansions_.find(symbol);
  return expansion == expansions_.end() ? std::vector<TokenId>{symbol} : expansion->second;
}

bool BpeModel::AppendBytes(std::string_view text, std::vector<TokenId>& symbols) const {
  if (!has_byte_fallback_) return false;
  const size_t start = symbols.size();
  for (char c : text) {
    const TokenId id = byte_ids_[static_cast<unsigned char>(c)];
    if (id < 0) {
      symbols.resize(start);
      return false;
    }
    symbols.push_back(id);
  }
  return true;
}

// An unknown unit is written down when the next one with a symbol comes, so that bytes in between
// come before it: what the Hugging Face library does.
inline void BpeModel::AppendSymbol(TokenId symbol, std::string_view spelled,
                                   bool& has_pending_unknown, std::vector<TokenId>& symbols) const {
  if (symbol >= 0) {
    if (has_pending_unknown) symbols.push_back(unknown_);
    has_pending_unknown = false;
    symbols.push_back(symbol);
    return;
  }
  if (AppendBytes(spelled, symbols) || unknown_ < 0) return;
  if (has_pending_unknown && !fuse_unknown_) symbols.push_back(unknown_);
  has_pending_unknown = true;
}

std::vector<TokenId> BpeModel::Symbols(std::string_view text) const {
  std::vector<TokenId> symbols;
  symbols.reserve(text.size());
  if (has_affixes_) {
    AppendPlacedSymbols(text, symbols);
    return symbols;
  }

  bool has_pending_unknown = false;
  while (!text.empty()) {
    const size_t length = units_ == Units::kBytes ? 1 : CharacterLength(text);
    const TokenId symbol = SymbolOf(units_ == Units::kBytes ? static_cast<unsigned char>(text[0])
                                                            : CodePoint(text.substr(0, length)));
    AppendSymbol(symbol, text.substr(0, length), has_pending_unknown, symbols);
    text.remove_prefix(length);
  }
  if (has_pending_unknown) symbols.push_back(unknown_);
  return symbols;
}

void BpeModel::AppendPlacedSymbols(std::string_view text, std::vector<TokenId>& symbols) const {
  bool has_pending_unknown = false;
  for (bool is_first = true; !text.empty(); is_first = false) {
    const std::string_view character = text.substr(0, CharacterLength(text));
    text.remove_prefix(character.size());
    const bool is_last = text.empty();
    std::string spelled = is_first ? "" : prefix_;
    spelled += character;
    if (is_last) spelled += suffix_;
    AppendSymbol(PlacedSymbolOf(CodePoint(character), is_first, is_last), spelled,
                 has_pending_unknown, symbols);
  }
  if (has_pending_unknown) symbols.push_back(unknown_);
}

std::vector<TokenId> BpeModel::Merged(std::string_view text, TokenId forbidden) const {
  std::vector<TokenId> symbols = Symbols(text);
  merges_.Apply(symbols, forbidden);
  return symbols;
}

void BpeModel::AppendExpanded(const std::vector<TokenId>& symbols,
                              std::vector<TokenId>& out) const {
  size_t start = out.size();
  auto append = [&](TokenId id) {
    bool melts = fuse_unknown_ && id == unknown_ && out.size() > start && out.back() == unknown_;
    if (!melts) out.push_back(id);
  };
  for (TokenId symbol : symbols) {
    auto expansion = expansions_.find(symbol);
    if (expansion == expansions_.end()) {
      append(symbol);
    } else {
      for (TokenId id : expansion->second) append(id);
    }
  }
}

void BpeModel::Encode(std::string_view word, WordCache* cache, std::vector<TokenId>& out) const {
  if (whole_words_.pieces() > 0) {
    if (TokenId id = whole_words_.Find(word); id >= 0) {
      out.push_back(id);
      return;
    }
  }
  while (!word.empty()) {
    std::string_view part = word.substr(0, CutLength(word));
    word.remove_prefix(part.size());
    if (cache != nullptr && cache->AppendIds(part, out)) continue;
    size_t start = out.size();
    std::vector<TokenId> symbols = Merged(part);
    if (expansions_.empty()) {
      out.insert(out.end(), symbols.begin(), symbols.end());
    } else {
      AppendExpanded(symbols, out);
    }
    if (cache != nullptr) cache->Remember(part, std::span(out).subspan(start));
  }
}

}  // namespace qualm
