// The BPE model of a tokenizer.json, of vocab.json + merges.txt and of rank files: a BpeModel with
// the symbols, merges and options that the files say.
#include <array>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/bpe_model.h"
#include "tokenize/byte_level.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/utf8.h"
#include "tokenize/word_model.h"

namespace qualm {
namespace {

class BpeWordModel final : public WordModel {
 public:
  BpeWordModel(BpeModel model, UnknownPiece unknown, bool names_unknown)
      : model_(std::move(model)),
        unknown_(std::move(unknown)),
        must_look_(names_unknown && !unknown_.exists()) {}

  void Encode(std::string_view word, WordCache* cache, std::vector<TokenId>& out) const override {
    const size_t start = out.size();
    model_.Encode(word, cache, out);
    if (!must_look_) return;
    for (size_t i = start; i < out.size(); ++i) {
      if (out[i] == kUnnamed) unknown_.Id();
    }
  }

  // The id of an unknown piece that the vocabulary lacks.
  static constexpr TokenId kUnnamed = static_cast<TokenId>(Vocabulary::kMaxId) + 1;

 private:
  BpeModel model_;
  UnknownPiece unknown_;
  bool must_look_;
};

class Builder {
 public:
  Builder(const BpeSpec& spec, const Vocabulary& vocabulary, bool bytes, std::string_view place)
      : spec_(spec),
        vocabulary_(vocabulary),
        bytes_(bytes),
        place_(place),
        model_(bytes ? BpeModel::Units::kBytes : BpeModel::Units::kCharacters) {}

  std::unique_ptr<const WordModel> Build() {
    SetSymbols();
    UnknownPiece unknown(vocabulary_, spec_.unknown_piece, place_);
    if (!spec_.unknown_piece.empty()) {
      model_.SetUnknown(unknown.exists() ? unknown.Id() : BpeWordModel::kUnnamed,
                        spec_.fuse_unknown);
    }
    if (spec_.byte_fallback) SetByteFallback();
    AddMerges();
    if (spec_.ignore_merges) SetWholeWords();
    return std::make_unique<BpeWordModel>(std::move(model_), std::move(unknown),
                                          !spec_.unknown_piece.empty());
  }

 private:
  bool HasAffixes() const { return !spec_.continuing_prefix.empty() || !spec_.word_suffix.empty(); }

  // The symbols of single characters or bytes.
  void SetSymbols() {
    if (bytes_) {
      for (unsigned byte = 0; byte < 256; ++byte) {
        const auto character = ByteLevelCharacter(static_cast<unsigned char>(byte));
        model_.SetSymbol(byte, vocabulary_.Find(character));
      }
      return;
    }
    if (HasAffixes()) {
      model_.SetAffixes(spec_.continuing_prefix, spec_.word_suffix);
      model_.ForbidCutting();
    }
    for (size_t i = 0; i < vocabulary_.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      const std::string_view piece = vocabulary_.Piece(id);
      if (HasAffixes()) {
        for (bool is_first : {false, true}) {
          for (bool is_last : {false, true}) SetPlacedSymbol(piece, id, is_first, is_last);
        }
      } else if (!piece.empty() && CharacterLength(piece) == piece.size()) {
        model_.SetSymbol(CodePoint(piece), id);
      }
    }
  }

  // If `piece` is how one character is spelled at such a place of a word.
  void SetPlacedSymbol(std::string_view piece, TokenId id, bool is_first, bool is_last) {
    const std::string_view prefix = is_first ? "" : std::string_view(spec_.continuing_prefix);
    const std::string_view suffix = is_last ? std::string_view(spec_.word_suffix) : "";
    if (piece.size() <= prefix.size() + suffix.size()) return;
    if (!piece.starts_with(prefix) || !piece.ends_with(suffix)) return;
    piece.remove_prefix(prefix.size());
    piece.remove_suffix(suffix.size());
    if (CharacterLength(piece) == piece.size()) {
      model_.SetPlacedSymbol(CodePoint(piece), is_first, is_last, id);
    }
  }

  // The pieces <0x00> .. <0xFF>, as far as there are any.
  void SetByteFallback() {
    std::array<TokenId, 256> ids{};
    size_t found = 0;
    for (size_t byte = 0; byte < 256; ++byte) {
      ids[byte] = vocabulary_.Find(FallbackPieceOfByte(static_cast<unsigned char>(byte)));
      found += ids[byte] >= 0 ? 1 : 0;
    }
    if (found == 0) return;
    // With some of them missing, an unknown character may be written after what follows it.
    if (found < 256) model_.ForbidCutting();
    model_.SetByteFallback(ids);
  }

  TokenId FindPiece(const std::string& piece, size_t rank) const {
    const TokenId id = piece.empty() ? -1 : vocabulary_.Find(piece);
    if (id >= 0) return id;
    const auto& [left, right] = spec_.merges[rank];
    ThrowBadInput(StrCat(place_, ".merges[", rank, "]"), "pieces of the vocabulary",
                  StrCat("'", piece, "' in '", left, " ", right, "'"));
  }

  void AddMerges() {
    if (spec_.merges.size() > size_t{1} << 24) {
      ThrowBadInput(place_, "at most 2^24 merges", StrCat(spec_.merges.size()));
    }
    for (size_t rank = 0; rank < spec_.merges.size(); ++rank) AddMerge(rank);
  }

  void AddMerge(size_t rank) {
    const auto& [left, right] = spec_.merges[rank];
    const TokenId left_id = FindPiece(left, rank), right_id = FindPiece(right, rank);
    // The right piece gives up its prefix when it is joined to another.
    const size_t cut = std::min(spec_.continuing_prefix.size(), right.size());
    const TokenId result = FindPiece(left + right.substr(cut), rank);

    std::optional<std::string> left_text = left, right_text = right;
    if (bytes_) {
      left_text = BytesOfByteLevelPiece(left);
      right_text = BytesOfByteLevelPiece(right);
    }
    // Symbols that do not spell what they are made from say nothing about neighbouring characters.
    const bool spells = left_text && right_text && left != spec_.unknown_piece &&
                        right != spec_.unknown_piece &&
                        !(spec_.byte_fallback &&
                          (ByteOfFallbackPiece(left) >= 0 || ByteOfFallbackPiece(right) >= 0));
    if (!spells) model_.ForbidCutting();
    model_.AddMerge(left_id, right_id, static_cast<uint32_t>(rank), result,
                    left_text.value_or(left), right_text.value_or(right));
  }

  void SetWholeWords() {
    Vocabulary words;
    for (size_t i = 0; i < vocabulary_.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (!vocabulary_.Has(id)) continue;
      std::optional<std::string> text(vocabulary_.Piece(id));
      if (bytes_) text = BytesOfByteLevelPiece(*text);
      if (text && !text->empty()) words.Add(*text, id, place_);
    }
    model_.SetWholeWords(std::move(words));
  }

  const BpeSpec& spec_;
  const Vocabulary& vocabulary_;
  bool bytes_;
  std::string_view place_;
  BpeModel model_;
};

}  // namespace

std::unique_ptr<const WordModel> BuildBpe(const BpeSpec& spec, const Vocabulary& vocabulary,
                                          bool bytes, std::string_view place) {
  return Builder(spec, vocabulary, bytes, place).Build();
}

}  // namespace qualm
