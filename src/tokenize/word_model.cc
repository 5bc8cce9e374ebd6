// The two simple kinds of models, and the choice among all four.
#include "tokenize/word_model.h"

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/byte_trie.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

class WordLevelModel final : public WordModel {
 public:
  WordLevelModel(const WordLevelSpec& spec, const Vocabulary& vocabulary, std::string_view place)
      : vocabulary_(vocabulary), unknown_(vocabulary, spec.unknown_piece, place) {}

  void Encode(std::string_view word, WordCache*, std::vector<TokenId>& out) const override {
    if (word.empty()) return;
    const TokenId id = vocabulary_.Find(word);
    out.push_back(id >= 0 ? id : unknown_.Id());
  }

 private:
  Vocabulary vocabulary_;
  UnknownPiece unknown_;
};

// Two tries, so that the longest piece at a place is found in one walk: the pieces as they are
// spelled, for the front of a word, and those that begin with the prefix, without it.
class WordPieceModel final : public WordModel {
 public:
  WordPieceModel(const WordPieceSpec& spec, const Vocabulary& vocabulary, std::string_view place)
      : most_characters_(spec.most_characters), unknown_(vocabulary, spec.unknown_piece, place) {
    const std::string& prefix = spec.continuing_prefix;
    for (size_t i = 0; i < vocabulary.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      const std::string_view piece = vocabulary.Piece(id);
      if (!piece.empty()) first_.Add(piece, id);
      if (piece.size() > prefix.size() && piece.starts_with(prefix)) {
        continuing_.Add(piece.substr(prefix.size()), id);
      }
    }
  }

  void Encode(std::string_view word, WordCache*, std::vector<TokenId>& out) const override {
    const size_t start = out.size();
    if (IsTooLong(word) || !AppendPieces(word, out)) {
      out.resize(start);
      out.push_back(unknown_.Id());
    }
  }

 private:
  bool IsTooLong(std::string_view word) const {
    if (word.size() <= most_characters_) return false;
    size_t characters = 0;
    ForEachCharacter(word, [&](uint32_t, std::string_view) { ++characters; });
    return characters > most_characters_;
  }

  // False if some place of the word has no piece.
  bool AppendPieces(std::string_view word, std::vector<TokenId>& out) const {
    for (const ByteTrie* trie = &first_; !word.empty(); trie = &continuing_) {
      const ByteTrie::Match match = trie->Longest(word);
      if (match.length == 0) return false;
      out.push_back(match.value);
      word.remove_prefix(match.length);
    }
    return true;
  }

  size_t most_characters_;
  UnknownPiece unknown_;
  ByteTrie first_, continuing_;
};

}  // namespace

TokenId UnknownPiece::Id() const {
  if (id_ >= 0) return id_;
  ThrowBadInput(StrCat(place_, ".unk_token"), "a piece of the vocabulary, which this text needs",
                piece_.empty() ? "none" : StrCat("'", piece_, "'"));
}

std::unique_ptr<const WordModel> BuildWordPiece(const WordPieceSpec& spec,
                                                const Vocabulary& vocabulary,
                                                std::string_view place) {
  return std::make_unique<WordPieceModel>(spec, vocabulary, place);
}

std::unique_ptr<const WordModel> BuildWordLevel(const WordLevelSpec& spec,
                                                const Vocabulary& vocabulary,
                                                std::string_view place) {
  return std::make_unique<WordLevelModel>(spec, vocabulary, place);
}

std::unique_ptr<const WordModel> BuildWordModel(const WordModelSpec& spec,
                                                const Vocabulary& vocabulary, bool bytes,
                                                std::string_view place) {
  if (const auto* bpe = std::get_if<BpeSpec>(&spec)) {
    return BuildBpe(*bpe, vocabulary, bytes, place);
  }
  if (const auto* unigram = std::get_if<UnigramSpec>(&spec)) {
    return BuildUnigram(*unigram, vocabulary, place);
  }
  if (const auto* word_piece = std::get_if<WordPieceSpec>(&spec)) {
    return BuildWordPiece(*word_piece, vocabulary, place);
  }
  return BuildWordLevel(std::get<WordLevelSpec>(spec), vocabulary, place);
}

}  // namespace qualm
