// Puts the steps together: added tokens are cut out first, and what is left goes segment by segment
// through normalizer, splitting into words, and model.
#include "tokenize/hf_tokenizer.h"

#include <deque>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/utf8.h"
#include "tokenize/word_cache.h"

namespace qualm {
namespace {

// Texts shorter than this hardly repeat a word; they are not worth a cache's memory.
constexpr size_t kCacheFrom = 256;  // bytes

// Whether words are encoded by their bytes: the fast way, for models whose symbols are bytes.
bool UsesBytes(const HfSpec& spec) {
  const auto* bpe = std::get_if<BpeSpec>(&spec.model);
  return spec.pre_tokenizer.is_byte_level() && bpe != nullptr && !bpe->byte_fallback &&
         bpe->continuing_prefix.empty() && bpe->word_suffix.empty();
}

}  // namespace

HfTokenizer::HfTokenizer(HfSpec spec, const TokenizerConfig& config, bool flags_count)
    : kind_(std::move(spec.kind)),
      normalizer_(std::move(spec.normalizer)),
      decoder_(std::move(spec.decoder)),
      cleans_up_spaces_(spec.cleans_up_spaces) {
  const std::string place = StrCat(spec.place, ".model");
  if (spec.vocabulary.pieces() == 0) ThrowBadInput(place, "a vocabulary", "an empty one");
  const bool bytes = UsesBytes(spec);
  model_ = BuildWordModel(spec.model, spec.vocabulary, bytes, place);
  pre_tokenizer_ = std::move(spec.pre_tokenizer);
  if (!bytes) pre_tokenizer_.SpellBytes();

  special_ = spec.special;
  warnings_ = std::move(spec.warnings);
  vocabulary_ = std::move(spec.vocabulary);
  AddTokens(spec);
  ApplyConfig(config, vocabulary_, flags_count, special_, warnings_);
}

void HfTokenizer::AddTokens(const HfSpec& spec) {
  const std::string place = StrCat(spec.place, ".added_tokens");
  for (const AddedToken& token : spec.added_tokens) {
    const TokenId known = vocabulary_.Find(token.content);
    if (known < 0) {
      vocabulary_.Add(token.content, token.id, place);
    } else if (known != token.id) {
      ThrowBadInput(place, StrCat("the vocabulary's id ", known, " for '", token.content, "'"),
                    StrCat(token.id));
    }
    if (!token.is_normalized) {
      raw_tokens_.Add(token, token.content, place);
      continue;
    }
    // A spelling that the normalizer leaves nothing of is never found.
    std::string spelling = normalizer_.Apply(token.content);
    if (!spelling.empty()) normalized_tokens_.Add(token, spelling, place);
    if (spelling != token.content) spellings_[token.id] = std::move(spelling);
  }

  flags_.assign(vocabulary_.size(), 0);
  for (const AddedToken& token : spec.added_tokens) {
    if (token.is_special) flags_[static_cast<size_t>(token.id)] = kIsSpecial;
  }

  for (const auto* ids : {&special_.before, &special_.after}) {
    for (const TokenId id : *ids) {
      if (!vocabulary_.Has(id)) {
        ThrowBadInput(StrCat(spec.place, ".post_processor"), "ids of the vocabulary", StrCat(id));
      }
    }
  }
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
      model_->Encode(word.text, call.use_cache ? &call.cache : nullptr, call.ids);
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
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (TokenId id : ids) {
    if (!vocabulary_.Has(id)) continue;
    if (flags_[static_cast<size_t>(id)] == kIsSpecial && !keep_special) continue;
    const auto spelling = spellings_.find(id);
    pieces.emplace_back(spelling == spellings_.end() ? vocabulary_.Piece(id)
                                                     : std::string_view(spelling->second));
  }
  std::string text = decoder_.Decode(std::move(pieces));
  return cleans_up_spaces_ ? CleanUpSpaces(std::move(text), /*contracts_do_not=*/false) : text;
}

std::optional<TokenId> HfTokenizer::IdOfPiece(std::string_view piece) const {
  TokenId id = vocabulary_.Find(piece);
  if (id < 0) return std::nullopt;
  return id;
}

}  // namespace qualm
