// Refuses models whose settings are not implemented, checks the pieces, and joins normalizer and
// model into a Tokenizer.
#include "tokenize/sentencepiece_tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/added_tokens.h"
#include "tokenize/byte_trie.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/piece_decoder.h"
#include "tokenize/sentencepiece_bpe.h"
#include "tokenize/sentencepiece_model.h"
#include "tokenize/sentencepiece_normalizer.h"
#include "tokenize/unigram_model.h"
#include "tokenize/utf8.h"
#include "tokenize/vocabulary.h"
#include "tokenize/word_cache.h"

namespace qualm {
namespace {

using PieceType = SentencePieceModel::PieceType;

// Texts shorter than this hardly repeat a word; they are not worth a cache's memory.
constexpr size_t kCacheFrom = 256;  // bytes

void RequireSupported(const SentencePieceModel& model, std::string_view place) {
  using Type = SentencePieceModel::Type;
  auto refuse = [&](std::string_view what) {
    ThrowBadInput(place, "a SentencePiece model of type BPE or UNIGRAM with ordinary white space",
                  StrCat(what, ", which is not supported"));
  };
  if (model.type == Type::kWord) refuse("type WORD");
  if (model.type == Type::kCharacter) refuse("type CHAR");
  if (model.whitespace_is_suffix) refuse("treat_whitespace_as_suffix");
  if (model.has_denormalizer) refuse("a denormalizer");
}

// The one unknown piece; checks the byte pieces on the way.
TokenId CheckPieces(const SentencePieceModel& model, std::string_view place) {
  std::optional<TokenId> unknown;
  std::array<bool, 256> has_byte{};
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePieceModel::Piece& piece = model.pieces[id];
    if (piece.type == PieceType::kUnknown) {
      if (unknown) ThrowBadInput(place, "one unknown piece", StrCat("another, id ", id));
      unknown = static_cast<TokenId>(id);
    } else if (piece.type == PieceType::kByte) {
      int byte = ByteOfFallbackPiece(piece.text);
      if (byte < 0 || !model.byte_fallback) {
        ThrowBadInput(place, "byte pieces <0x00> to <0xFF>, with byte_fallback",
                      StrCat("'", piece.text, "', id ", id));
      }
      has_byte[static_cast<size_t>(byte)] = true;
    }
  }
  if (!unknown) ThrowBadInput(place, "an unknown piece", "none");
  if (model.byte_fallback) {
    for (size_t byte = 0; byte < 256; ++byte) {
      if (!has_byte[byte]) {
        ThrowBadInput(place, "all 256 byte pieces, as byte_fallback asks for",
                      StrCat("no ", FallbackPieceOfByte(static_cast<unsigned char>(byte))));
      }
    }
  }
  return *unknown;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(const SentencePieceModel& model, std::string_view place,
                         const TokenizerConfig& config)
      : unknown_(CheckPieces(model, place)),
        unknown_surface_(model.unknown_surface),
        drops_first_space_(model.add_dummy_prefix || model.remove_extra_whitespaces),
        drops_all_leading_spaces_(model.remove_extra_whitespaces),
        // Only the text's very beginning gets the dummy prefix in the newer behaviour.
        prefix_every_segment_(config.legacy.value_or(true)),
        user_defined_(UserDefined(model)),
        normalizer_(model, user_defined_, place) {
    if (model.type == SentencePieceModel::Type::kBpe) {
      model_.emplace<BpeModel>(BuildSentencePieceBpe(model, unknown_, place));
    } else {
      model_.emplace<UnigramModel>(model, unknown_);
    }
    for (size_t id = 0; id < model.pieces.size(); ++id) {
      vocabulary_.Add(model.pieces[id].text, static_cast<int64_t>(id), place);
      types_.push_back(model.pieces[id].type);
    }
    SetSpecial(model);
    AddTokens(config, place);
    ApplyConfig(config, vocabulary_, /*flags_count=*/true, special_, warnings_);
  }

  std::vector<TokenId> Encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    ids.reserve(text.size() / 3);
    if (added_tokens_.empty()) {
      EncodeSegment(text, /*with_prefix=*/true, ids);
      return ids;
    }
    std::string repaired;
    if (!IsValidUtf8(text)) {
      repaired = RepairUtf8(text);
      text = repaired;
    }
    for (const AddedTokenSplitter::Part& part : added_tokens_.Split(text)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        EncodeSegment(part.text, prefix_every_segment_ || part.text.data() == text.data(), ids);
      }
    }
    return ids;
  }

  std::string Decode(std::span<const TokenId> ids, bool keep_special) const override {
    std::string out;
    bool at_start = true;  // a space at the very beginning is the dummy prefix
    bool dropped = false;
    for (TokenId id : ids) {
      if (!vocabulary_.Has(id)) continue;
      std::string_view piece = vocabulary_.Piece(id);
      if (types_[static_cast<size_t>(id)] == PieceType::kByte) {
        out.push_back(static_cast<char>(ByteOfFallbackPiece(piece)));
        continue;
      }
      if (dropped || !out.empty()) at_start = false;
      dropped = AppendPiece(id, piece, at_start, keep_special, out);
    }
    return RepairUtf8(out);
  }

  std::string Piece(TokenId id) const override { return std::string(vocabulary_.Piece(id)); }
  std::optional<TokenId> IdOfPiece(std::string_view piece) const override {
    TokenId id = vocabulary_.Find(piece);
    if (id < 0) return std::nullopt;
    return id;
  }
  size_t vocab_size() const override { return vocabulary_.size(); }
  std::string_view kind() const override {
    return std::holds_alternative<BpeModel>(model_) ? "sentencepiece-bpe" : "sentencepiece-unigram";
  }

 private:
  static ByteTrie UserDefined(const SentencePieceModel& model) {
    ByteTrie trie;
    for (size_t id = 0; id < model.pieces.size(); ++id) {
      if (model.pieces[id].type != PieceType::kUserDefined) continue;
      trie.Add(model.pieces[id].text, static_cast<int32_t>(id));
    }
    return trie;
  }

  void SetSpecial(const SentencePieceModel& model) {
    auto control = [&](const std::string& piece) -> std::optional<TokenId> {
      TokenId id = vocabulary_.Find(piece);
      if (id < 0 || types_[static_cast<size_t>(id)] != PieceType::kControl) return std::nullopt;
      return id;
    };
    special_.bos = control(model.bos_piece);
    special_.eos = control(model.eos_piece);
    special_.pad = control(model.pad_piece);
    special_.unk = unknown_;
    special_.add_bos = special_.bos.has_value();
  }

  // Tokens that the configuration knows: by their ids, then those that it only names, as far as the
  // model has them. A text that writes the unknown piece out keeps its characters where the folder
  // asks for the old behaviour, as SentencePiece itself reads it.
  void AddTokens(const TokenizerConfig& config, std::string_view place) {
    for (const AddedToken& token : config.added_tokens) AddToken(token, place);
    for (const auto* tokens : {&config.named_tokens, &config.further_tokens}) {
      for (AddedToken token : *tokens) {
        token.id = vocabulary_.Find(token.content);
        const bool is_known =
            std::any_of(config.added_tokens.begin(), config.added_tokens.end(),
                        [&](const AddedToken& other) { return other.content == token.content; });
        const bool is_plain = config.legacy == true && token.id == unknown_;
        if (token.id >= 0 && !is_known && !is_plain) AddToken(token, place);
      }
    }
  }

  void AddToken(const AddedToken& token, std::string_view place) {
    const TokenId known = vocabulary_.Find(token.content);
    if (known >= 0 && known != token.id) {
      ThrowBadInput(place, StrCat("the model's id ", known, " for '", token.content, "'"),
                    StrCat(token.id));
    }
    if (known < 0) vocabulary_.Add(token.content, token.id, place);
    types_.resize(vocabulary_.size(), PieceType::kUserDefined);
    if (token.is_special) types_[static_cast<size_t>(token.id)] = PieceType::kControl;
    added_tokens_.Add(token, token.content, place);
  }

  void EncodeSegment(std::string_view segment, bool with_prefix, std::vector<TokenId>& ids) const {
    std::string text = normalizer_.Apply(segment, with_prefix);
    const auto* unigram = std::get_if<UnigramModel>(&model_);
    if (unigram != nullptr) {
      unigram->Encode(text, ids);
      return;
    }
    WordCache cache;
    WordCache* used_cache = text.size() >= kCacheFrom ? &cache : nullptr;
    const auto& bpe = std::get<BpeModel>(model_);
    // User-defined pieces stand for themselves and nothing merges with them.
    std::string_view rest = text;
    for (size_t at = 0; at < rest.size() && !user_defined_.empty();) {
      ByteTrie::Match match = user_defined_.Longest(rest.substr(at));
      if (match.length == 0) {
        at += CharacterLength(rest.substr(at));
        continue;
      }
      bpe.Encode(rest.substr(0, at), used_cache, ids);
      ids.push_back(match.value);
      rest.remove_prefix(at + match.length);
      at = 0;
    }
    bpe.Encode(rest, used_cache, ids);
  }

  // True if the piece gave up the space of the dummy prefix.
  bool AppendPiece(TokenId id, std::string_view piece, bool at_start, bool keep_special,
                   std::string& out) const {
    PieceType type = types_[static_cast<size_t>(id)];
    if (type == PieceType::kControl) {
      if (keep_special) out += piece;
      return false;
    }
    if (type == PieceType::kUnknown) {
      out += unknown_surface_;
      return false;
    }
    bool drops = at_start && drops_first_space_ && piece.starts_with(kMetaSpace);
    if (drops) piece.remove_prefix(kMetaSpace.size());
    while (!piece.empty()) {
      if (piece.starts_with(kMetaSpace)) {
        out += ' ';
        piece.remove_prefix(kMetaSpace.size());
      } else {
        out += piece[0];
        piece.remove_prefix(1);
      }
    }
    return drops && !drops_all_leading_spaces_;
  }

  TokenId unknown_;
  std::string unknown_surface_;
  bool drops_first_space_, drops_all_leading_spaces_, prefix_every_segment_;
  ByteTrie user_defined_;  // piece -> id; the normalizer looks at it
  SentencePieceNormalizer normalizer_;
  std::variant<std::monostate, BpeModel, UnigramModel> model_;
  Vocabulary vocabulary_;
  std::vector<PieceType> types_;  // by id
  AddedTokenSplitter added_tokens_;
};

}  // namespace

std::unique_ptr<Tokenizer> ParseSentencePiece(std::string_view bytes, std::string_view place,
                                              const TokenizerConfig& config) {
  SentencePieceModel model = ParseSentencePieceModel(bytes, place);
  RequireSupported(model, place);
  if (auto tokenizer = BuildFromSentencePiece(model, place, config)) return tokenizer;
  if (!config.add_prefix_space.value_or(true)) model.add_dummy_prefix = false;
  return std::make_unique<SentencePieceTokenizer>(model, place, config);
}

}  // namespace qualm
