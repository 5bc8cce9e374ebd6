// Finds, for each piece, the splits into two other pieces, which are the merges that make it.
#include "tokenize/sentencepiece_bpe.h"

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

using PieceType = SentencePieceModel::PieceType;

// Bounds the work of finding a piece's splits, which grows with the square of its length.
constexpr size_t kLongestPiece = 1000;  // bytes

bool IsOneCharacter(std::string_view text) { return CharacterLength(text) == text.size(); }

class Builder {
 public:
  Builder(const SentencePieceModel& model, TokenId unknown, std::string_view place)
      : source_(model), unknown_(unknown), place_(place), bpe_(BpeModel::Units::kCharacters) {}

  BpeModel Build() {
    if (source_.byte_fallback) SetByteIds();
    bpe_.SetUnknown(unknown_, /*fuse=*/true);
    CollectSymbols();
    RankScores();
    for (size_t id = 0; id < source_.pieces.size(); ++id) {
      if (Merges(id)) AddSplits(static_cast<TokenId>(id));
    }
    ExpandUnused();
    return std::move(bpe_);
  }

 private:
  // Whether merging can make this piece. User-defined ones are found in the text beforehand.
  bool Merges(size_t id) const {
    PieceType type = source_.pieces[id].type;
    return type == PieceType::kNormal || type == PieceType::kUnused;
  }

  std::string_view TextOf(size_t id) const { return source_.pieces[id].text; }

  void SetByteIds() {
    for (size_t id = 0; id < source_.pieces.size(); ++id) {
      if (source_.pieces[id].type != PieceType::kByte) continue;
      byte_ids_[static_cast<size_t>(ByteOfFallbackPiece(TextOf(id)))] = static_cast<TokenId>(id);
    }
    bpe_.SetByteFallback(byte_ids_);
  }

  void CollectSymbols() {
    for (size_t id = 0; id < source_.pieces.size(); ++id) {
      std::string_view text = TextOf(id);
      if (Merges(id) && text.size() > kLongestPiece) {
        ThrowBadInput(place_, StrCat("pieces of at most ", kLongestPiece, " bytes"),
                      StrCat("one of ", text.size(), ", id ", id));
      }
      if (IsOneCharacter(text) && source_.pieces[id].type != PieceType::kUserDefined) {
        SetCharacter(text, static_cast<TokenId>(id));
      } else if (Merges(id)) {
        symbols_.emplace(text, static_cast<TokenId>(id));
      }
    }
    // Characters that are no piece themselves but part of one still have to merge.
    auto next = static_cast<TokenId>(source_.pieces.size());
    for (size_t id = 0; id < source_.pieces.size(); ++id) {
      if (!Merges(id)) continue;
      for (std::string_view rest = TextOf(id); !rest.empty();) {
        std::string_view character = rest.substr(0, CharacterLength(rest));
        rest.remove_prefix(character.size());
        if (symbols_.contains(character)) continue;
        bpe_.SetExpansion(next, WrittenOut(character));
        SetCharacter(character, next++);
      }
    }
  }

  void SetCharacter(std::string_view character, TokenId symbol) {
    symbols_.emplace(character, symbol);
    bpe_.SetSymbol(CodePoint(character), symbol);
  }

  std::vector<TokenId> WrittenOut(std::string_view character) const {
    if (!source_.byte_fallback) return {unknown_};
    std::vector<TokenId> ids;
    for (char c : character) ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
    return ids;
  }

  // Equal scores get equal ranks: then the leftmost pair merges first.
  void RankScores() {
    for (const auto& piece : source_.pieces) distinct_scores_.push_back(piece.score);
    std::sort(distinct_scores_.begin(), distinct_scores_.end(), std::greater<>());
    distinct_scores_.erase(std::unique(distinct_scores_.begin(), distinct_scores_.end()),
                           distinct_scores_.end());
  }

  uint32_t RankOf(float score) const {
    auto at =
        std::lower_bound(distinct_scores_.begin(), distinct_scores_.end(), score, std::greater<>());
    return static_cast<uint32_t>(at - distinct_scores_.begin());
  }

  void AddSplits(TokenId id) {
    std::string_view text = TextOf(static_cast<size_t>(id));
    uint32_t rank = RankOf(source_.pieces[static_cast<size_t>(id)].score);
    for (size_t at = CharacterLength(text); at < text.size();
         at += CharacterLength(text.substr(at))) {
      auto left = symbols_.find(text.substr(0, at));
      if (left == symbols_.end()) continue;
      auto right = symbols_.find(text.substr(at));
      if (right == symbols_.end()) continue;
      bpe_.AddMerge(left->second, right->second, rank, id, left->first, right->first);
    }
  }

  // An unused piece takes part in merging but is written as the two symbols it came from. Those do
  // not depend on what stands around it: they are what remains of its text if it must not form.
  void ExpandUnused() {
    std::vector<TokenId> unused;
    for (size_t id = 0; id < source_.pieces.size(); ++id) {
      if (source_.pieces[id].type == PieceType::kUnused && !IsOneCharacter(TextOf(id))) {
        unused.push_back(static_cast<TokenId>(id));
      }
    }
    auto length = [&](TokenId id) { return TextOf(static_cast<size_t>(id)).size(); };
    std::sort(unused.begin(), unused.end(),
              [&](TokenId a, TokenId b) { return length(a) < length(b); });
    for (TokenId id : unused) {
      std::vector<TokenId> ids;
      for (TokenId part : bpe_.Merged(TextOf(static_cast<size_t>(id)), /*forbidden=*/id)) {
        std::vector<TokenId> written = bpe_.ExpansionOf(part);
        ids.insert(ids.end(), written.begin(), written.end());
      }
      bpe_.SetExpansion(id, std::move(ids));
    }
  }

  const SentencePieceModel& source_;
  TokenId unknown_;
  std::string_view place_;
  BpeModel bpe_;
  std::array<TokenId, 256> byte_ids_{};
  std::unordered_map<std::string_view, TokenId> symbols_;  // what each symbol spells
  std::vector<float> distinct_scores_;                     // highest first
};

}  // namespace

BpeModel BuildSentencePieceBpe(const SentencePieceModel& model, TokenId unknown,
                               std::string_view place) {
  return Builder(model, unknown, place).Build();
}

}  // namespace qualm
