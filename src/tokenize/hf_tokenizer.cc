#include "tokenize/hf_tokenizer.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/byte_level.h"
#include "tokenize/utf8.h"
#include "tokenize/word_cache.h"

namespace qualm {
namespace {

// Texts shorter than this hardly repeat a word; they are not worth a cache's memory.
constexpr size_t kCacheFrom = 256;  // bytes

// The symbols of single characters or bytes.
void SetSymbols(const HfSpec& spec, BpeModel& model) {
  const Vocabulary& vocabulary = spec.model.vocabulary;
  if (spec.pre_tokenizer.is_byte_level()) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      model.SetSymbol(byte, vocabulary.Find(ByteLevelCharacter(static_cast<unsigned char>(byte))));
    }
    return;
  }
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    std::string_view piece = vocabulary.Piece(static_cast<TokenId>(id));
    if (!piece.empty() && CharacterLength(piece) == piece.size()) {
      model.SetSymbol(CodePoint(piece), static_cast<TokenId>(id));
    }
  }
}

// The pieces <0x00> .. <0xFF>; nothing if there are none of them at all.
std::optional<std::array<TokenId, 256>> FallbackIds(const Vocabulary& vocabulary,
                                                    std::string_view place) {
  std::array<TokenId, 256> ids{};
  std::string missing;
  size_t found = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string piece = FallbackPieceOfByte(static_cast<unsigned char>(byte));
    ids[byte] = vocabulary.Find(piece);
    if (ids[byte] >= 0) {
      ++found;
    } else if (missing.empty()) {
      missing = piece;
    }
  }
  if (found == 0) return std::nullopt;
  if (found < 256) {
    ThrowBadInput(place, "all 256 byte pieces, as byte_fallback asks for",
                  StrCat(found, ", without ", missing));
  }
  return ids;
}

void AddMerges(const HfSpec& spec, std::string_view place, BpeModel& model) {
  const Vocabulary& vocabulary = spec.model.vocabulary;
  bool bytes = spec.pre_tokenizer.is_byte_level();
  for (size_t rank = 0; rank < spec.model.merges.size(); ++rank) {
    const std::string& left = spec.model.merges[rank].first;
    const std::string& right = spec.model.merges[rank].second;
    auto find = [&](const std::string& piece) {
      TokenId id = piece.empty() ? -1 : vocabulary.Find(piece);
      if (id >= 0) return id;
      ThrowBadInput(StrCat(place, ".merges[", rank, "]"), "pieces of the vocabulary",
                    StrCat("'", piece, "' in '", left, " ", right, "'"));
    };
    TokenId left_id = find(left), right_id = find(right), result = find(left + right);
    std::optional<std::string> left_text = left, right_text = right;
    if (bytes) {
      left_text = BytesOfByteLevelPiece(left);
      right_text = BytesOfByteLevelPiece(right);
    }
    // Symbols that do not spell what they are made from say nothing about neighbouring characters.
    bool spells = left_text && right_text && left != spec.model.unknown_piece &&
                  right != spec.model.unknown_piece &&
                  !(spec.model.byte_fallback &&
                    (ByteOfFallbackPiece(left) >= 0 || ByteOfFallbackPiece(right) >= 0));
    if (!spells) model.ForbidCutting();
    model.AddMerge(left_id, right_id, static_cast<uint32_t>(rank), result, left_text.value_or(left),
                   right_text.value_or(right));
  }
}

}  // namespace

BpeModel HfTokenizer::BuildModel(const HfSpec& spec) {
  std::string place = StrCat(spec.place, ".model");
  const BpeSpec& bpe = spec.model;
  if (bpe.vocabulary.pieces() == 0) ThrowBadInput(place, "a vocabulary", "an empty one");
  if (bpe.merges.size() > size_t{1} << 24) ThrowBadInput(place, "at most 2^24 merges", "more");
  bool bytes = spec.pre_tokenizer.is_byte_level();
  BpeModel model(bytes ? BpeModel::Units::kBytes : BpeModel::Units::kCharacters);
  SetSymbols(spec, model);
  if (!bpe.unknown_piece.empty()) {
    TokenId unknown = bpe.vocabulary.Find(bpe.unknown_piece);
    if (unknown < 0) {
      ThrowBadInput(place, "an unk_token of the vocabulary", StrCat("'", bpe.unknown_piece, "'"));
    }
    model.SetUnknown(unknown, bpe.fuse_unknown);
  }
  if (bpe.byte_fallback && !bytes) {
    if (auto ids = FallbackIds(bpe.vocabulary, place)) model.SetByteFallback(*ids);
  }
  AddMerges(spec, place, model);
  if (bpe.ignore_merges) {
    Vocabulary words;
    for (size_t i = 0; i < bpe.vocabulary.size(); ++i) {
      auto id = static_cast<TokenId>(i);
      if (!bpe.vocabulary.Has(id)) continue;
      std::optional<std::string> text(bpe.vocabulary.Piece(id));
      if (bytes) text = BytesOfByteLevelPiece(*text);
      if (text && !text->empty()) words.Add(*text, id, place);
    }
    model.SetWholeWords(std::move(words));
  }
  return model;
}

HfTokenizer::HfTokenizer(HfSpec spec, const TokenizerConfig& config)
    : kind_(std::move(spec.kind)),
      model_(BuildModel(spec)),
      normalizer_(std::move(spec.normalizer)),
      pre_tokenizer_(std::move(spec.pre_tokenizer)),
      decoder_(std::move(spec.decoder)),
      vocabulary_(std::move(spec.model.vocabulary)) {
  special_ = spec.special;
  std::string place = StrCat(spec.place, ".added_tokens");
  for (const AddedToken& token : spec.added_tokens) {
    TokenId known = vocabulary_.Find(token.content);
    if (known < 0) {
      vocabulary_.Add(token.content, token.id, place);
    } else if (known != token.id) {
      ThrowBadInput(place, StrCat("the vocabulary's id ", known, " for '", token.content, "'"),
                    StrCat(token.id));
    }
    if (token.is_normalized) {
      normalized_tokens_.Add(token, normalizer_.Apply(token.content), place);
    } else {
      raw_tokens_.Add(token, token.content, place);
    }
  }
  flags_.assign(vocabulary_.size(), 0);
  for (const AddedToken& token : spec.added_tokens) {
    flags_[static_cast<size_t>(token.id)] =
        static_cast<uint8_t>(kIsAdded | (token.is_special ? kIsSpecial : 0));
  }
  for (const std::optional<TokenId>& id : {special_.bos, special_.eos}) {
    if (id && !vocabulary_.Has(*id)) {
      ThrowBadInput(StrCat(spec.place, ".post_processor"), "ids of the vocabulary", StrCat(*id));
    }
  }
  ApplyConfig(config, vocabulary_, special_);
}

struct HfTokenizer::Call {
  std::vector<TokenId> ids;
  std::vector<Word> words;
  std::deque<std::string> storage;
  WordCache cache;
  bool use_cache = false;
};

void HfTokenizer::EncodeSegment(std::string_view segment, bool starts_text, Call& call) const {
  std::string normalized;
  if (!normalizer_.IsIdentity()) {
    normalized = normalizer_.Apply(segment);
    segment = normalized;
  }
  for (const AddedTokenSplitter::Part& part : normalized_tokens_.Split(segment)) {
    if (part.id >= 0) {
      call.ids.push_back(part.id);
      continue;
    }
    call.words.assign(1, {part.text, starts_text && part.text.data() == segment.data()});
    pre_tokenizer_.Apply(call.words, call.storage);
    for (const Word& word : call.words) {
      model_.Encode(word.text, call.use_cache ? &call.cache : nullptr, call.ids);
    }
    call.storage.clear();
  }
}

std::vector<TokenId> HfTokenizer::Encode(std::string_view text) const {
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = RepairUtf8(text);
    text = repaired;
  }
  Call call;
  call.use_cache = text.size() >= kCacheFrom;
  call.ids.reserve(text.size() / 3);
  for (const AddedTokenSplitter::Part& part : raw_tokens_.Split(text)) {
    if (part.id >= 0) {
      call.ids.push_back(part.id);
    } else {
      EncodeSegment(part.text, part.text.data() == text.data(), call);
    }
  }
  return std::move(call.ids);
}

std::string HfTokenizer::Decode(std::span<const TokenId> ids, bool keep_special) const {
  std::vector<DecodedPiece> pieces;
  pieces.reserve(ids.size());
  for (TokenId id : ids) {
    if (!vocabulary_.Has(id)) continue;
    uint8_t flags = flags_[static_cast<size_t>(id)];
    if ((flags & kIsSpecial) && !keep_special) continue;
    pieces.push_back({std::string(vocabulary_.Piece(id)), (flags & kIsAdded) != 0});
  }
  return decoder_.Decode(std::move(pieces));
}

std::optional<TokenId> HfTokenizer::IdOfPiece(std::string_view piece) const {
  TokenId id = vocabulary_.Find(piece);
  if (id < 0) return std::nullopt;
  return id;
}

}  // namespace qualm
