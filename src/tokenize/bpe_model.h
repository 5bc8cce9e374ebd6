// A whole BPE model: text to ids by its units (characters, or bytes for byte-level vocabularies),
// their symbols and the merges. Used by tokenizer.json, vocab.json + merges.txt and SentencePiece.
// Immutable once built; calls from several threads do not disturb each other.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tokenize/bpe.h"
#include "tokenize/tokenizer.h"
#include "tokenize/vocabulary.h"
#include "tokenize/word_cache.h"

namespace qualm {

class BpeModel {
 public:
  enum class Units { kCharacters, kBytes };
  explicit BpeModel(Units units) : units_(units) { small_symbols_.fill(-1); }

  // The symbol that stands for one unit (a code point, or a byte) before any merge.
  void SetSymbol(uint32_t unit, TokenId symbol);
  // Inside a word every character but the first is spelled with `prefix`, and the last with
  // `suffix`; symbols then depend on the place, and those of SetSymbol are not used.
  void SetAffixes(std::string_view prefix, std::string_view suffix);
  void SetPlacedSymbol(uint32_t unit, bool is_first, bool is_last, TokenId symbol);
  // `left_text` and `right_text` are what the two symbols spell, in units of this model.
  void AddMerge(TokenId left, TokenId right, uint32_t rank, TokenId result,
                std::string_view left_text, std::string_view right_text);
  // Text may no longer be cut where no merge reaches across; for models in which a symbol does not
  // spell its units (merges of byte-fallback pieces).
  void ForbidCutting() { may_cut_ = false; }

  // What a unit without a symbol becomes: the pieces of its bytes if there are all (-1: none), else
  // `unknown` (one for a run of them if `fuse`), else nothing at all, which is what the Hugging
  // Face library does.
  void SetByteFallback(const std::array<TokenId, 256>& byte_ids);
  void SetUnknown(TokenId unknown, bool fuse);
  // A symbol that is not an id of the vocabulary, and the ids it is written as in the end.
  void SetExpansion(TokenId symbol, std::vector<TokenId> ids);
  // A whole word that is a piece is that piece, whatever the merges say.
  void SetWholeWords(Vocabulary words) { whole_words_ = std::move(words); }

  // Appends the ids of one word (or a whole text where nothing splits it into words): well-formed
  // UTF-8 for a model of characters. `cache` may be null.
  void Encode(std::string_view word, WordCache* cache, std::vector<TokenId>& out) const;

  // The symbols of `text` after all merges but those that give `forbidden`, before expansion.
  std::vector<TokenId> Merged(std::string_view text, TokenId forbidden = -1) const;
  // What `symbol` is written as: itself unless SetExpansion said otherwise.
  std::vector<TokenId> ExpansionOf(TokenId symbol) const;

 private:
  TokenId SymbolOf(uint32_t unit) const;
  TokenId PlacedSymbolOf(uint32_t unit, bool is_first, bool is_last) const;
  // Appends the byte pieces of `text`; false and nothing if one of them is missing.
  bool AppendBytes(std::string_view text, std::vector<TokenId>& symbols) const;
  // Appends what one character becomes: its symbol if it has one (not -1), else its bytes or,
  // later, the unknown piece.
  void AppendSymbol(TokenId symbol, std::string_view spelled, bool& has_pending_unknown,
                    std::vector<TokenId>& symbols) const;
  void AppendPlacedSymbols(std::string_view text, std::vector<TokenId>& symbols) const;
  // The symbols of `text` before any merge.
  std::vector<TokenId> Symbols(std::string_view text) const;
  // Whether `unit` may leave nothing of its own behind, so that what stands around it becomes
  // neighbours or one unknown piece.
  bool MayVanish(uint32_t unit) const;
  // The length in bytes of the longest front part of `text` (not empty) that must stay together.
  size_t CutLength(std::string_view text) const;
  void AppendExpanded(const std::vector<TokenId>& symbols, std::vector<TokenId>& out) const;

  Units units_;
  bool may_cut_ = true;
  bool has_byte_fallback_ = false;
  bool has_affixes_ = false;
  std::string prefix_, suffix_;
  bool fuse_unknown_ = false;
  TokenId unknown_ = -1;
  std::array<TokenId, 256> byte_ids_{};
  std::array<TokenId, 256> small_symbols_;  // by unit below 256
  std::unordered_map<uint32_t, TokenId> symbols_;
  std::unordered_map<uint64_t, TokenId> placed_symbols_;  // unit << 2 | is_first << 1 | is_last
  MergeTable merges_;
  MergeReach reach_;
  std::unordered_map<TokenId, std::vector<TokenId>> expansions_;
  Vocabulary whole_words_;
};

}  // namespace qualm
