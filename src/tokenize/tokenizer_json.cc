// tokenizer.json (Hugging Face tokenizers 0.10 to 0.21) with a BPE model. Whatever is not supported
// is an error that names it.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/hf_tokenizer.h"

namespace qualm {
namespace {

const Json& Member(const Json& object, std::string_view key) {
  static const Json null;
  auto found = object.find(std::string(key));
  return found == object.end() ? null : *found;
}

// Options of the BPE model that change its results and that nothing here implements.
void RefuseOptions(const Json& model, std::string_view place) {
  for (std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    std::string value = GetString(model, key, place, "");
    if (!value.empty()) {
      ThrowBadInput(place, StrCat("no ", key), StrCat("'", value, "', which is not supported"));
    }
  }
  if (double dropout = GetDouble(model, "dropout", place, 0); dropout != 0) {
    ThrowBadInput(place, "no dropout", StrCat(dropout, ", which is not supported"));
  }
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

BpeSpec ParseModel(const Json& json, std::string_view root) {
  std::string place = StrCat(root, ".model");
  if (!json.is_object()) ThrowBadInput(place, "a JSON object", json.type_name());
  // The oldest files leave the type out.
  std::string type = GetString(json, "type", place, json.contains("merges") ? "BPE" : "unknown");
  if (type != "BPE") {
    ThrowBadInput(place, "a model of type BPE", StrCat("'", type, "', which is not supported"));
  }
  RefuseOptions(json, place);
  BpeSpec spec;
  spec.vocabulary = ParseVocabulary(Member(json, "vocab"), StrCat(place, ".vocab"));
  const Json& merges = Member(json, "merges");
  std::string merges_place = StrCat(place, ".merges");
  if (!merges.is_array()) ThrowBadInput(merges_place, "a list", merges.type_name());
  spec.merges.reserve(merges.size());
  for (const Json& merge : merges) spec.merges.push_back(ParseMerge(merge, merges_place));
  spec.unknown_piece = GetString(json, "unk_token", place, "");
  spec.fuse_unknown = GetBool(json, "fuse_unk", place, false);
  spec.byte_fallback = GetBool(json, "byte_fallback", place, false);
  spec.ignore_merges = GetBool(json, "ignore_merges", place, false);
  return spec;
}

// The tokens that a TemplateProcessing puts around a single text.
class TemplateReader {
 public:
  TemplateReader(const Json& json, std::string_view place, SpecialTokens& special)
      : json_(json), place_(place), special_(special) {}

  void Read() {
    const Json& single = Member(json_, "single");
    if (!single.is_array()) ThrowBadInput(place_, "a list 'single'", single.type_name());
    bool after_text = false;
    for (const Json& item : single) {
      if (item.is_object() && item.size() == 1 && item.contains("Sequence") && !after_text) {
        after_text = true;
      } else if (item.is_object() && item.size() == 1 && item.contains("SpecialToken")) {
        SetToken(GetString(item["SpecialToken"], "id", place_), after_text);
      } else {
        ThrowUnsupported(item.dump());
      }
    }
    if (!after_text) ThrowUnsupported("a template without the text");
  }

 private:
  [[noreturn]] void ThrowUnsupported(const std::string& what) const {
    ThrowBadInput(place_, "a template of at most one token before and one behind the text",
                  StrCat(what.substr(0, 100), ", which is not supported"));
  }

  void SetToken(const std::string& name, bool after_text) {
    bool& add = after_text ? special_.add_eos : special_.add_bos;
    if (add) ThrowUnsupported(StrCat("a second token '", name, "'"));
    const Json& entry = Member(Member(json_, "special_tokens"), name);
    const Json& ids = Member(entry, "ids");
    if (!ids.is_array() || ids.size() != 1 || !ids[0].is_number_integer()) {
      ThrowBadInput(place_, StrCat("one id for '", name, "' in special_tokens"), ids.dump());
    }
    auto id = ids[0].get<int64_t>();
    if (id < 0 || id > Vocabulary::kMaxId) {
      ThrowBadInput(place_, StrCat("an id of the vocabulary for '", name, "'"), StrCat(id));
    }
    add = true;
    (after_text ? special_.eos : special_.bos) = static_cast<TokenId>(id);
  }

  const Json& json_;
  std::string place_;
  SpecialTokens& special_;
};

void ReadPostProcessor(const Json& json, std::string_view place, SpecialTokens& special) {
  if (json.is_null()) return;
  std::string type = GetString(json, "type", place);
  std::string here = StrCat(place, ".", type);
  if (type == "Sequence") {
    const Json& parts = Member(json, "processors");
    if (!parts.is_array()) ThrowBadInput(here, "a list 'processors'", parts.type_name());
    for (const Json& part : parts) ReadPostProcessor(part, here, special);
  } else if (type == "TemplateProcessing") {
    TemplateReader(json, here, special).Read();
  } else if (type != "ByteLevel") {  // which only trims offsets
    ThrowBadInput(place, "a post-processor among ByteLevel, Sequence, TemplateProcessing",
                  StrCat("'", type, "', which is not supported"));
  }
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

// Tokens that only tokenizer_config.json knows.
void AddFromConfig(const TokenizerConfig& config, HfSpec& spec) {
  std::unordered_set<std::string> known;
  for (const AddedToken& token : spec.added_tokens) known.insert(token.content);
  for (const AddedToken& token : config.added_tokens) {
    if (known.insert(token.content).second) spec.added_tokens.push_back(token);
  }
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
  spec.kind = "tokenizer.json-bpe";
  spec.model = ParseModel(json["model"], place);
  spec.added_tokens =
      ParseAddedTokens(Member(json, "added_tokens"), StrCat(place, ".added_tokens"));
  AddFromConfig(config, spec);
  spec.normalizer = Normalizer::Parse(Member(json, "normalizer"), StrCat(place, ".normalizer"));
  spec.pre_tokenizer =
      PreTokenizer::Parse(Member(json, "pre_tokenizer"), StrCat(place, ".pre_tokenizer"));
  spec.decoder = PieceDecoder::Parse(Member(json, "decoder"), StrCat(place, ".decoder"));
  ReadPostProcessor(Member(json, "post_processor"), StrCat(place, ".post_processor"), spec.special);
  return std::make_unique<HfTokenizer>(std::move(spec), config);
}

}  // namespace qualm
