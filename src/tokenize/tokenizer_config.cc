// Reads the files in a fixed order; for each it is said whether its tokens win over those that were
// read before.
#include "tokenize/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "io/json.h"

namespace qualm {
namespace {

// A token given as "<s>" or as {"content": "<s>", ...}; nothing if null or empty. A special token
// is looked for as it is written, unless its flags say otherwise.
std::optional<AddedToken> NamedToken(const Json& value, std::string_view place) {
  AddedToken token;
  if (value.is_object()) {
    token = ParseAddedToken(value, /*id=*/0, place);
    token.is_normalized = GetBool(value, "normalized", place, false);
  } else if (value.is_string()) {
    token.content = value.get<std::string>();
    token.is_normalized = false;
  } else if (!value.is_null()) {
    ThrowBadInput(place, "a token or null", value.dump().substr(0, 60));
  }
  token.id = -1;
  token.is_special = true;
  if (token.content.empty()) return std::nullopt;
  return token;
}

std::optional<bool> OptionalBool(const Json& object, std::string_view key, std::string_view place) {
  auto found = object.find(std::string(key));
  if (found == object.end() || found->is_null()) return std::nullopt;
  return GetBool(object, key, place, false);
}

int64_t IdFromKey(const std::string& key, std::string_view place) {
  int64_t id = -1;
  auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) {
    ThrowBadInput(place, "token ids as keys", StrCat("'", key.substr(0, 60), "'"));
  }
  return id;
}

// Takes `token` in; one of the same content that is there already stays unless `replaces`.
void AddNamed(const AddedToken& token, bool replaces, std::vector<AddedToken>& tokens) {
  for (AddedToken& known : tokens) {
    if (known.content != token.content) continue;
    if (replaces) known = token;
    return;
  }
  tokens.push_back(token);
}

// bos_token and the like, then the lists of further special tokens. `replaces`: this file wins over
// what was read before.
void ReadNamedTokens(const Json& json, std::string_view place, bool replaces,
                     TokenizerConfig& config) {
  const auto read = [&](const char* key, std::optional<std::string>* piece) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    const std::optional<AddedToken> token = NamedToken(*found, StrCat(place, ".", key));
    if (!token) return;
    if (piece != nullptr && (!piece->has_value() || replaces)) *piece = token->content;
    AddNamed(*token, replaces, config.named_tokens);
  };
  read("bos_token", &config.bos);
  read("eos_token", &config.eos);
  read("unk_token", &config.unk);
  read("sep_token", &config.sep);
  read("pad_token", &config.pad);
  read("cls_token", &config.cls);
  read("mask_token", nullptr);
  // Roles that only some models have ("image_token"); add_bos_token is a flag.
  for (const auto& [key, value] : json.items()) {
    if (key.ends_with("_token") && (value.is_string() || value.is_object())) {
      read(key.c_str(), nullptr);
    }
  }

  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) continue;
    const std::string here = StrCat(place, ".", key);
    if (!found->is_array() && !found->is_object()) {
      ThrowBadInput(here, "a list of tokens", found->type_name());
    }
    for (const Json& value : *found) {
      if (const auto token = NamedToken(value, here))
        AddNamed(*token, replaces, config.further_tokens);
    }
  }
}

void ReadMainFile(const std::filesystem::path& path, TokenizerConfig& config) {
  Json json = ReadJsonFile(path);
  std::string place = path.string();
  config.tokenizer_class = GetString(json, "tokenizer_class", place, "");
  config.add_bos = OptionalBool(json, "add_bos_token", place);
  config.add_eos = OptionalBool(json, "add_eos_token", place);
  config.add_prefix_space = OptionalBool(json, "add_prefix_space", place);
  config.legacy = OptionalBool(json, "legacy", place);
  config.cleans_up_spaces = OptionalBool(json, "clean_up_tokenization_spaces", place);
  config.do_lower_case = OptionalBool(json, "do_lower_case", place);
  config.tokenize_chinese_chars = OptionalBool(json, "tokenize_chinese_chars", place);
  config.strip_accents = OptionalBool(json, "strip_accents", place);
  config.extra_ids = GetInt(json, "extra_ids", place, config.extra_ids);
  ReadNamedTokens(json, place, /*replaces=*/false, config);
  auto decoder = json.find("added_tokens_decoder");
  if (decoder == json.end() || decoder->is_null()) return;
  std::string here = StrCat(place, ".added_tokens_decoder");
  if (!decoder->is_object()) ThrowBadInput(here, "a JSON object", decoder->type_name());
  config.has_added_tokens_decoder = true;
  for (const auto& [key, value] : decoder->items()) {
    config.added_tokens.push_back(ParseAddedToken(value, IdFromKey(key, here), here));
  }
}

// {"<extra>": 32000, ...}, the older form without flags.
void ReadAddedTokensFile(const std::filesystem::path& path, TokenizerConfig& config) {
  Json json = ReadJsonFile(path);
  if (!json.is_object()) ThrowBadInput(path.string(), "a JSON object", json.type_name());
  std::unordered_set<std::string> known;
  for (const AddedToken& token : config.added_tokens) known.insert(token.content);
  for (const auto& [name, value] : json.items()) {
    const std::string& content = name;  // Clang 14 lets no lambda take a structured binding
    if (!known.insert(content).second) continue;
    if (!value.is_number_integer()) {
      ThrowBadInput(path.string(), StrCat("an integer id for '", content, "'"),
                    value.dump().substr(0, 60));
    }
    // Flags are those of the special tokens of this name.
    const bool is_special =
        std::any_of(config.named_tokens.begin(), config.named_tokens.end(),
                    [&](const AddedToken& token) { return token.content == content; });
    Json entry = {{"content", content}, {"special", is_special}};
    config.added_tokens.push_back(ParseAddedToken(entry, value.get<int64_t>(), path.string()));
  }
}

}  // namespace

TokenizerConfig ReadTokenizerConfig(const std::filesystem::path& folder) {
  TokenizerConfig config;
  config.folder = folder.string();
  // Whether the file is there; what is there is read below.
  const auto has = [&](const char* name) {
    if (!std::filesystem::exists(folder / name)) return false;
    config.inputs.Add(name, folder / name);
    return true;
  };

  if (has("tokenizer_config.json")) ReadMainFile(folder / "tokenizer_config.json", config);
  if (has("special_tokens_map.json")) {
    const std::filesystem::path path = folder / "special_tokens_map.json";
    // Where there is an added_tokens_decoder, this file is what older programs still write.
    ReadNamedTokens(ReadJsonFile(path), path.string(),
                    /*replaces=*/!config.has_added_tokens_decoder, config);
  }
  if (has("added_tokens.json")) ReadAddedTokensFile(folder / "added_tokens.json", config);

  std::sort(config.added_tokens.begin(), config.added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return config;
}

std::string ClassName(const TokenizerConfig& config) {
  constexpr std::string_view kFast = "Fast";
  std::string name = config.tokenizer_class;
  if (name.ends_with(kFast)) name.resize(name.size() - kFast.size());
  return name;
}

void NameSpecialToken(std::string_view piece, const Vocabulary& vocabulary,
                      TokenizerConfig& config) {
  if (vocabulary.Find(piece) < 0) return;
  AddedToken token;
  token.content = piece;
  token.is_special = true;
  token.is_normalized = false;
  AddNamed(token, /*replaces=*/false, config.named_tokens);
}

void ApplyConfig(const TokenizerConfig& config, const Vocabulary& vocabulary, bool flags_count,
                 SpecialTokens& special, std::vector<std::string>& warnings) {
  const auto apply = [&](const std::optional<std::string>& piece, std::string_view key,
                         bool is_needed, std::optional<TokenId>& id) {
    if (!piece) return;
    const TokenId found = vocabulary.Find(*piece);
    if (found >= 0) {
      id = found;
    } else if (is_needed) {
      ThrowBadInput(config.folder, StrCat("a piece of the vocabulary as ", key),
                    StrCat("'", *piece, "'"));
    } else {
      warnings.push_back(StrCat(config.folder, ": the ", key, " '", *piece,
                                "' is not in the vocabulary and is not used"));
    }
  };
  apply(config.bos, "bos_token", /*is_needed=*/true, special.bos);
  apply(config.eos, "eos_token", /*is_needed=*/true, special.eos);
  apply(config.unk, "unk_token", /*is_needed=*/false, special.unk);
  apply(config.pad, "pad_token", /*is_needed=*/false, special.pad);
  if (!flags_count) return;

  if (config.add_bos) special.add_bos = *config.add_bos;
  if (config.add_eos) special.add_eos = *config.add_eos;
  if (special.add_bos && !special.bos) {
    ThrowBadInput(config.folder, "a bos_token, which add_bos_token asks for", "none");
  }
  if (special.add_eos && !special.eos) {
    ThrowBadInput(config.folder, "an eos_token, which add_eos_token asks for", "none");
  }
}

}  // namespace qualm
