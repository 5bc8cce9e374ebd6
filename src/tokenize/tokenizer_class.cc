// What the tokenizer classes of transformers make of files that say only a vocabulary: normalizer,
// words, decoder and special tokens are in the class, not in the files.
#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/post_processor.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

using PieceType = SentencePieceModel::PieceType;

// Bounds the work of finding a piece's splits, which grows with the square of its length.
constexpr size_t kLongestPiece = 1000;  // bytes

constexpr int64_t kMostExtraIds = 10000;

// `config` with the names that the class gives where the files are silent.
TokenizerConfig WithDefaults(TokenizerConfig config, const Vocabulary& vocabulary,
                             std::optional<std::string> bos, std::optional<std::string> eos,
                             const std::vector<std::string>& others) {
  const auto fill = [&](std::optional<std::string>& role, const std::optional<std::string>& piece) {
    if (!role && piece && vocabulary.Find(*piece) >= 0) role = piece;
    if (role) NameSpecialToken(*role, vocabulary, config);
  };
  fill(config.bos, bos);
  fill(config.eos, eos);
  for (const std::string& piece : others) NameSpecialToken(piece, vocabulary, config);
  return config;
}

// Adds the tokens that `config` names to those of the tokenizer's own file.
void AddConfiguredTokens(const TokenizerConfig& config, HfSpec& spec) {
  std::unordered_map<std::string, size_t> known;
  TokenId next = static_cast<TokenId>(spec.vocabulary.size());
  for (size_t i = 0; i < spec.added_tokens.size(); ++i) {
    known.emplace(spec.added_tokens[i].content, i);
    next = std::max(next, spec.added_tokens[i].id + 1);
  }
  const auto add = [&](const AddedToken& token) {
    known.emplace(token.content, spec.added_tokens.size());
    spec.added_tokens.push_back(token);
    next = std::max(next, token.id + 1);
  };

  for (const AddedToken& token : config.added_tokens) {
    const auto found = known.find(token.content);
    if (found == known.end()) {
      add(token);
    } else if (config.has_added_tokens_decoder) {
      spec.added_tokens[found->second] = token;
    }
  }
  for (AddedToken token : config.named_tokens) {
    token.id = spec.vocabulary.Find(token.content);
    if (token.id >= 0 && !known.contains(token.content)) add(token);
  }
  // Further ones that the vocabulary lacks get the ids after it.
  for (AddedToken token : config.further_tokens) {
    if (known.contains(token.content)) continue;
    token.id = spec.vocabulary.Find(token.content);
    if (token.id < 0) token.id = next;
    add(token);
  }
}

// All ways to join two pieces of the vocabulary to a third, by the third's id, then by the length
// of the left one.
std::vector<std::pair<std::string, std::string>> MergesOf(const Vocabulary& vocabulary,
                                                          std::string_view place) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view piece = vocabulary.Piece(static_cast<TokenId>(id));
    if (piece.size() > kLongestPiece) {
      ThrowBadInput(place, StrCat("pieces of at most ", kLongestPiece, " bytes"),
                    StrCat("one of ", piece.size(), ", id ", id));
    }
    for (size_t at = piece.empty() ? 0 : CharacterLength(piece); at < piece.size();
         at += CharacterLength(piece.substr(at))) {
      const std::string_view left = piece.substr(0, at), right = piece.substr(at);
      if (vocabulary.Find(left) >= 0 && vocabulary.Find(right) >= 0) {
        merges.emplace_back(left, right);
      }
    }
  }
  return merges;
}

// Pieces that stand for themselves wherever they are in a text: control pieces, which are special,
// and user-defined ones. A list in the configuration takes their place.
void NamePieces(const SentencePieceModel& model, TokenizerConfig& config) {
  if (!config.further_tokens.empty()) return;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    if (piece.type != PieceType::kControl && piece.type != PieceType::kUserDefined) continue;
    AddedToken token;
    token.content = piece.text;
    token.is_special = piece.type == PieceType::kControl;
    token.is_normalized = false;
    config.further_tokens.push_back(token);
  }
}

HfSpec SpecOf(const SentencePieceModel& model, std::string_view place) {
  HfSpec spec;
  spec.place = place;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    spec.vocabulary.Add(model.pieces[id].text, static_cast<int64_t>(id), place);
  }
  return spec;
}

std::optional<TokenId> IdIn(const Vocabulary& vocabulary, const std::optional<std::string>& piece) {
  const TokenId id = piece ? vocabulary.Find(*piece) : -1;
  if (id < 0) return std::nullopt;
  return id;
}

// The flags that hold where the configuration does not say otherwise.
void SetDefaultFlags(const TokenizerConfig& config, HfSpec& spec) {
  spec.special.bos = IdIn(spec.vocabulary, config.bos);
  spec.special.eos = IdIn(spec.vocabulary, config.eos);
  spec.special.add_bos = spec.special.bos.has_value();
}

std::unique_ptr<Tokenizer> BuildLlama(const SentencePieceModel& model, std::string_view place,
                                      TokenizerConfig config) {
  HfSpec spec = SpecOf(model, place);
  spec.kind = "sentencepiece-llama";
  spec.model = BpeSpec{};
  ApplyLlamaClass(config, spec);
  std::get<BpeSpec>(spec.model).merges = MergesOf(spec.vocabulary, place);
  config = WithDefaults(std::move(config), spec.vocabulary, "<s>", "</s>", {"<unk>"});
  NamePieces(model, config);
  SetDefaultFlags(config, spec);
  return FinishTokenizer(std::move(spec), config, /*flags_count=*/true);
}

std::unique_ptr<Tokenizer> BuildGemma(const SentencePieceModel& model, std::string_view place,
                                      TokenizerConfig config) {
  HfSpec spec = SpecOf(model, place);
  spec.kind = "sentencepiece-gemma";
  BpeSpec bpe;
  bpe.merges = MergesOf(spec.vocabulary, place);
  bpe.unknown_piece = config.unk.value_or("<unk>");
  bpe.fuse_unknown = true;
  bpe.byte_fallback = true;
  spec.model = std::move(bpe);
  spec.normalizer = Normalizer::ReplaceSpaces(std::string(kMetaSpace));
  spec.pre_tokenizer = PreTokenizer::AfterSpaces();
  spec.decoder = PieceDecoder::Spaces(std::string(kMetaSpace), /*with_bytes=*/true,
                                      /*strip_first=*/false);
  config = WithDefaults(std::move(config), spec.vocabulary, "<bos>", "<eos>",
                        {"<unk>", "<pad>", "<mask>"});
  NamePieces(model, config);
  SetDefaultFlags(config, spec);
  return FinishTokenizer(std::move(spec), config, /*flags_count=*/true);
}

std::unique_ptr<Tokenizer> BuildT5(const SentencePieceModel& model, std::string_view place,
                                   TokenizerConfig config) {
  if (config.extra_ids < 0 || config.extra_ids > kMostExtraIds) {
    ThrowBadInput(config.folder, StrCat("extra_ids from 0 to ", kMostExtraIds),
                  StrCat(config.extra_ids));
  }
  HfSpec spec = SpecOf(model, place);
  spec.kind = "sentencepiece-t5";
  UnigramSpec unigram;
  for (const auto& piece : model.pieces) unigram.scores.push_back(static_cast<double>(piece.score));
  // The places to fill in come after the vocabulary, the last one first.
  for (int64_t i = config.extra_ids - 1; i >= 0; --i) {
    const std::string piece = StrCat("<extra_id_", i, ">");
    spec.vocabulary.Add(piece, static_cast<int64_t>(spec.vocabulary.size()), place);
    unigram.scores.push_back(0);
    AddedToken token;
    token.content = piece;
    token.is_special = true;
    token.is_normalized = false;
    config.further_tokens.push_back(token);
  }
  unigram.unknown = 2;  // whatever the model says
  if (model.pieces.size() < 3) ThrowBadInput(place, "at least three pieces", "fewer");
  spec.model = std::move(unigram);

  spec.normalizer = Normalizer::Precompiled(model.charsmap, StrCat(place, ": character map"));
  spec.pre_tokenizer = PreTokenizer::WhiteSpaceSplit();
  spec.pre_tokenizer.Then(PreTokenizer::Metaspace(PreTokenizer::Prefix::kAlways, /*split=*/true));
  spec.decoder = PieceDecoder::Metaspace(std::string(kMetaSpace), /*drop_in_first=*/true);
  config =
      WithDefaults(std::move(config), spec.vocabulary, std::nullopt, "</s>", {"<unk>", "<pad>"});
  SetTemplate(std::nullopt, IdIn(spec.vocabulary, "</s>"), spec.special);
  return FinishTokenizer(std::move(spec), config, /*flags_count=*/false);
}

// Their ids are not those of the SentencePiece model but shifted by the class.
void RefuseShiftedClass(const std::string& name, const TokenizerConfig& config) {
  for (std::string_view shifted :
       {"BarthezTokenizer", "CamembertTokenizer", "MBart50Tokenizer", "MBartTokenizer",
        "NllbTokenizer", "PegasusTokenizer", "XGLMTokenizer", "XLMRobertaTokenizer"}) {
    if (name != shifted) continue;
    ThrowBadInput(StrCat(config.folder, "/tokenizer_config.json"),
                  "a tokenizer_class whose ids are those of its SentencePiece model",
                  StrCat("'", name, "'"), "save the tokenizer as tokenizer.json");
  }
}

}  // namespace

void ApplyLlamaClass(const TokenizerConfig& config, HfSpec& spec) {
  auto& bpe = std::get<BpeSpec>(spec.model);
  bpe.unknown_piece.clear();
  bpe.fuse_unknown = true;
  bpe.byte_fallback = true;
  bpe.ignore_merges = false;
  bpe.continuing_prefix.clear();
  bpe.word_suffix.clear();

  const bool has_prefix = config.add_prefix_space.value_or(true);
  const auto prefix = !has_prefix                     ? PreTokenizer::Prefix::kNever
                      : config.legacy.value_or(false) ? PreTokenizer::Prefix::kAlways
                                                      : PreTokenizer::Prefix::kFirst;
  spec.normalizer = Normalizer();
  spec.pre_tokenizer = PreTokenizer::Metaspace(prefix, /*split=*/false);
  spec.decoder = PieceDecoder::Spaces(std::string(kMetaSpace), /*with_bytes=*/true, has_prefix);
}

std::unique_ptr<Tokenizer> BuildFromSentencePiece(const SentencePieceModel& model,
                                                  std::string_view place,
                                                  const TokenizerConfig& config) {
  const std::string name = ClassName(config);
  const bool is_bpe = model.type == SentencePieceModel::Type::kBpe;
  RefuseShiftedClass(name, config);
  // Folders from before September 2023 (they have no added_tokens_decoder) were read by Google's
  // library, unless they ask for the newer way.
  if (name == "LlamaTokenizer" && !config.has_added_tokens_decoder &&
      config.legacy.value_or(true) && config.add_prefix_space.value_or(true)) {
    return nullptr;
  }
  if (name == "LlamaTokenizer" && is_bpe) return BuildLlama(model, place, config);
  if (name == "GemmaTokenizer" && is_bpe) return BuildGemma(model, place, config);
  if (name == "T5Tokenizer" && model.type == SentencePieceModel::Type::kUnigram) {
    return BuildT5(model, place, config);
  }
  return nullptr;
}

std::unique_ptr<Tokenizer> FinishTokenizer(HfSpec spec, const TokenizerConfig& config,
                                           bool flags_count) {
  AddConfiguredTokens(config, spec);
  // transformers cleans up what it decodes, but not after BPE.
  spec.cleans_up_spaces =
      config.cleans_up_spaces.value_or(false) && !std::holds_alternative<BpeSpec>(spec.model);
  return std::make_unique<HfTokenizer>(std::move(spec), config, flags_count);
}

}  // namespace qualm
