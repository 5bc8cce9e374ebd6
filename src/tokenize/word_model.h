// The "model" part of a tokenizer.json: what turns one word into ids. There are four kinds.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tokenize/tokenizer.h"
#include "tokenize/vocabulary.h"
#include "tokenize/word_cache.h"

namespace qualm {

// Merges of adjacent symbols (Sennrich et al. 2016).
struct BpeSpec {
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::string unknown_piece;                                // empty: none
  bool fuse_unknown = false;
  bool byte_fallback = false;     // a character without a piece becomes the pieces of its bytes
  bool ignore_merges = false;     // a word that is a piece needs no merges
  std::string continuing_prefix;  // in front of every character of a word but the first
  std::string word_suffix;        // after the last character of a word
};

// The segmentation of highest total score (Kudo 2018).
struct UnigramSpec {
  std::vector<double> scores;  // by id
  TokenId unknown = -1;        // -1: none
  bool byte_fallback = false;
};

// The longest piece at each place of the word (BERT).
struct WordPieceSpec {
  std::string unknown_piece;
  std::string continuing_prefix = "##";
  size_t most_characters = 100;  // longer words are unknown
};

// Whole words only.
struct WordLevelSpec {
  std::string unknown_piece;
};

using WordModelSpec = std::variant<BpeSpec, UnigramSpec, WordPieceSpec, WordLevelSpec>;

// Immutable once built; calls from several threads do not disturb each other.
class WordModel {
 public:
  virtual ~WordModel() = default;

  // Appends the ids of one word, well-formed UTF-8. `cache` may be null. Throws bad input if the
  // word needs an unknown piece and the file names none that its vocabulary has.
  virtual void Encode(std::string_view word, WordCache* cache, std::vector<TokenId>& out) const = 0;
};

// `bytes`: words of a BPE model are encoded by their bytes, spelled in the alphabet of
// byte_level.h. Throws bad input at `place` for parts that do not fit together. `vocabulary` may be
// forgotten afterwards.
std::unique_ptr<const WordModel> BuildWordModel(const WordModelSpec& spec,
                                                const Vocabulary& vocabulary, bool bytes,
                                                std::string_view place);
// The implementations for each kind.
std::unique_ptr<const WordModel> BuildBpe(const BpeSpec& spec, const Vocabulary& vocabulary,
                                          bool bytes, std::string_view place);
std::unique_ptr<const WordModel> BuildUnigram(const UnigramSpec& spec, const Vocabulary& vocabulary,
                                              std::string_view place);
std::unique_ptr<const WordModel> BuildWordPiece(const WordPieceSpec& spec,
                                                const Vocabulary& vocabulary,
                                                std::string_view place);
std::unique_ptr<const WordModel> BuildWordLevel(const WordLevelSpec& spec,
                                                const Vocabulary& vocabulary,
                                                std::string_view place);

// The unknown piece of a model. A file may name one that its vocabulary lacks, or none; that
// matters only to a text that needs it.
class UnknownPiece {
 public:
  UnknownPiece(const Vocabulary& vocabulary, std::string piece, std::string_view place)
      : id_(vocabulary.Find(piece)), piece_(std::move(piece)), place_(place) {}

  // Throws bad input if there is none.
  TokenId Id() const;
  bool exists() const { return id_ >= 0; }

 private:
  TokenId id_;
  std::string piece_, place_;
};

}  // namespace qualm
