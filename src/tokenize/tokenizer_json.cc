// tokenizer.json (Hugging Face tokenizers 0.10 to 0.23). Whatever is not supported is an error that
// names it.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/post_processor.h"

namespace qualm {
namespace {

const Json& Member(const Json& object, std::string_view key) {
  static const Json null;
  auto found = object.find(std::string(key));
  return found == object.end() ? null : *found;
}

std::pair<std::string, std::string> ParseMerge(const Json& merge, std::string_view place) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  ThrowBadInput(place, "merges \"left right\" or [\"left\", \"right\"]",
                merge.dump().substr(0, 100));
}

BpeSpec ParseBpe(const Json& json, std::string_view place) {
  if (double dropout = GetDouble(json, "dropout", place, 0); dropout != 0) {
    ThrowBadInput(StrCat(place, ".dropout"), "no dropout: ids that are the same every time",
                  StrCat(dropout));
  }
  BpeSpec spec;
  const Json& merges = Member(json, "merges");
  const std::string merges_place = StrCat(place, ".merges");
  if (!merges.is_array()) ThrowBadInput(merges_place, "a list", merges.type_name());
  spec.merges.reserve(merges.size());
  for (const Json& merge : merges) spec.merges.push_back(ParseMerge(merge, merges_place));
  spec.unknown_piece = GetString(json, "unk_token", place, "");
  spec.fuse_unknown = GetBool(json, "fuse_unk", place, false);
  spec.byte_fallback = GetBool(json, "byte_fallback", place, false);
  spec.ignore_merges = GetBool(json, "ignore_merges", place, false);
  spec.continuing_prefix = GetString(json, "continuing_subword_prefix", place, "");
  spec.word_suffix = GetString(json, "end_of_word_suffix", place, "");
  return spec;
}

// [["piece", score], ...], by id.
UnigramSpec ParseUnigram(const Json& json, std::string_view place, Vocabulary& vocabulary) {
  const Json& pieces = Member(json, "vocab");
  const std::string vocab_place = StrCat(place, ".vocab");
  if (!pieces.is_array()) {
    ThrowBadInput(vocab_place, "a list of pieces and scores", pieces.type_name());
  }
  UnigramSpec spec;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const Json& entry = pieces[id];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      ThrowBadInput(StrCat(vocab_place, "[", id, "]"), "[\"piece\", score]",
                    entry.dump().substr(0, 100));
    }
    // The library's trainer repeats a special token that is a piece of its text too.
    vocabulary.AddOrRepoint(entry[0].get<std::string>(), static_cast<int64_t>(id), vocab_place);
    spec.scores.push_back(entry[1].get<double>());
  }

  const int64_t unknown = GetInt(json, "unk_id", place, -1);
  if (unknown < -1 || unknown >= static_cast<int64_t>(pieces.size())) {
    ThrowBadInput(StrCat(place, ".unk_id"), StrCat("an id below ", pieces.size()), StrCat(unknown));
  }
  spec.unknown = static_cast<TokenId>(unknown);
  spec.byte_fallback = GetBool(json, "byte_fallback", place, false);
  return spec;
}

WordPieceSpec ParseWordPiece(const Json& json, std::string_view place) {
  WordPieceSpec spec;
  spec.unknown_piece = GetString(json, "unk_token", place, "[UNK]");
  spec.continuing_prefix = GetString(json, "continuing_subword_prefix", place, "##");
  const int64_t most = GetInt(json, "max_input_chars_per_word", place, 100);
  if (most < 0) {
    ThrowBadInput(StrCat(place, ".max_input_chars_per_word"), "at least 0", StrCat(most));
  }
  spec.most_characters = static_cast<size_t>(most);
  return spec;
}

// The oldest files leave the type out.
std::string TypeOfModel(const Json& json, std::string_view place) {
  const Json& vocab = Member(json, "vocab");
  std::string_view guess = "unknown";
  if (json.contains("merges")) {
    guess = "BPE";
  } else if (json.contains("continuing_subword_prefix")) {
    guess = "WordPiece";
  } else if (vocab.is_array()) {
    guess = "Unigram";
  } else if (vocab.is_object()) {
    guess = "WordLevel";
  }
  return GetString(json, "type", place, guess);
}

void ParseModel(const Json& json, std::string_view root, HfSpec& spec) {
  const std::string place = StrCat(root, ".model");
  if (!json.is_object()) ThrowBadInput(place, "a JSON object", json.type_name());
  const std::string type = TypeOfModel(json, place);
  if (type == "Unigram") {
    spec.kind = "tokenizer.json-unigram";
    spec.model = ParseUnigram(json, place, spec.vocabulary);
    return;
  }

  if (type == "BPE") {
    spec.kind = "tokenizer.json-bpe";
    spec.model = ParseBpe(json, place);
  } else if (type == "WordPiece") {
    spec.kind = "tokenizer.json-wordpiece";
    spec.model = ParseWordPiece(json, place);
  } else if (type == "WordLevel") {
    spec.kind = "tokenizer.json-wordlevel";
    spec.model = WordLevelSpec{GetString(json, "unk_token", place, "<unk>")};
  } else {
    const std::vector<std::string> known = {"BPE", "Unigram", "WordLevel", "WordPiece"};
    ThrowUnknownName(place, "model type", type, known);
  }
  spec.vocabulary = ParseVocabulary(Member(json, "vocab"), StrCat(place, ".vocab"));
}

std::vector<AddedToken> ParseAddedTokens(const Json& json, std::string_view place) {
  std::vector<AddedToken> tokens;
  if (json.is_null()) return tokens;
  if (!json.is_array()) ThrowBadInput(place, "a list", json.type_name());
  for (const Json& entry : json) {
    tokens.push_back(ParseAddedToken(entry, GetInt(entry, "id", place), place));
  }
  return tokens;
}

// LlamaTokenizer builds its own tokenizer from vocabulary and merges. `legacy: true` keeps what the
// file says, which is how the class read it when that was written, and so does a file of bytes
// (Llama 3's under the wrong class).
bool IsRebuiltAsLlama(const TokenizerConfig& config, const HfSpec& spec, const Json& json) {
  if (ClassName(config) != "LlamaTokenizer" || config.legacy.value_or(false) ||
      !std::holds_alternative<BpeSpec>(spec.model)) {
    return false;
  }
  const bool is_byte_level =
      spec.pre_tokenizer.is_byte_level() ||
      Member(json, "decoder").dump().find("\"ByteLevel\"") != std::string::npos;
  return !is_byte_level;
}

}  // namespace

Vocabulary ParseVocabulary(const Json& json, std::string_view place) {
  if (!json.is_object()) ThrowBadInput(place, "an object of pieces and ids", json.type_name());
  Vocabulary vocabulary;
  for (const auto& [piece, id] : json.items()) {
    if (!id.is_number_integer()) {
      ThrowBadInput(place, "integers as ids",
                    StrCat(id.dump().substr(0, 60), " for '", piece, "'"));
    }
    vocabulary.Add(piece, id.get<int64_t>(), place);
  }
  if (vocabulary.pieces() == 0) ThrowBadInput(place, "a vocabulary", "an empty one");
  return vocabulary;
}

std::unique_ptr<Tokenizer> ParseTokenizerJson(std::string_view text, std::string_view place,
                                              const TokenizerConfig& config) {
  Json json = ParseJson(text, place);
  if (!json.is_object()) ThrowBadInput(place, "a JSON object", json.type_name());
  if (!json.contains("model")) ThrowBadInput(place, "the key 'model'", "none");
  HfSpec spec;
  spec.place = place;
  ParseModel(json["model"], place, spec);
  spec.added_tokens =
      ParseAddedTokens(Member(json, "added_tokens"), StrCat(place, ".added_tokens"));
  spec.normalizer = Normalizer::Parse(Member(json, "normalizer"), StrCat(place, ".normalizer"));
  spec.pre_tokenizer =
      PreTokenizer::Parse(Member(json, "pre_tokenizer"), StrCat(place, ".pre_tokenizer"));
  spec.decoder = PieceDecoder::Parse(Member(json, "decoder"), StrCat(place, ".decoder"));
  ReadPostProcessor(Member(json, "post_processor"), StrCat(place, ".post_processor"), spec.special);
  if (IsRebuiltAsLlama(config, spec, json)) ApplyLlamaClass(config, spec);
  return FinishTokenizer(std::move(spec), config, /*flags_count=*/false);
}

}  // namespace qualm
