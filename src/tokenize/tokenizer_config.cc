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

// A token given as "<s>" or as {"content": "<s>", ...}; nothing if absent, null or empty.
std::optional<std::string> NamedToken(const Json& object, std::string_view key,
                                      std::string_view place) {
  auto found = object.find(std::string(key));
  if (found == object.end() || found->is_null()) return std::nullopt;
  std::string text = found->is_object() ? GetString(*found, "content", StrCat(place, ".", key))
                                        : GetString(object, key, place);
  if (text.empty()) return std::nullopt;
  return text;
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

void ReadNamedTokens(const Json& json, std::string_view place, TokenizerConfig& config) {
  auto fill = [&](std::optional<std::string>& token, std::string_view key) {
    if (!token) token = NamedToken(json, key, place);
  };
  fill(config.bos, "bos_token");
  fill(config.eos, "eos_token");
  fill(config.unk, "unk_token");
  fill(config.pad, "pad_token");
}

void ReadMainFile(const std::filesystem::path& path, TokenizerConfig& config) {
  Json json = ReadJsonFile(path);
  std::string place = path.string();
  config.tokenizer_class = GetString(json, "tokenizer_class", place, "");
  config.add_bos = OptionalBool(json, "add_bos_token", place);
  config.add_eos = OptionalBool(json, "add_eos_token", place);
  config.add_prefix_space = OptionalBool(json, "add_prefix_space", place);
  config.legacy = OptionalBool(json, "legacy", place);
  ReadNamedTokens(json, place, config);
  auto decoder = json.find("added_tokens_decoder");
  if (decoder == json.end() || decoder->is_null()) return;
  std::string here = StrCat(place, ".added_tokens_decoder");
  if (!decoder->is_object()) ThrowBadInput(here, "a JSON object", decoder->type_name());
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
  for (const auto& [content, value] : json.items()) {
    if (!known.insert(content).second) continue;
    if (!value.is_number_integer()) {
      ThrowBadInput(path.string(), StrCat("an integer id for '", content, "'"),
                    value.dump().substr(0, 60));
    }
    Json entry = {{"content", content}};
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
    ReadNamedTokens(ReadJsonFile(path), path.string(), config);
  }
  if (has("added_tokens.json")) ReadAddedTokensFile(folder / "added_tokens.json", config);

  std::sort(config.added_tokens.begin(), config.added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return config;
}

void ApplyConfig(const TokenizerConfig& config, const Vocabulary& vocabulary,
                 SpecialTokens& special) {
  auto apply = [&](const std::optional<std::string>& piece, std::string_view key,
                   std::optional<TokenId>& id) {
    if (!piece) return;
    TokenId found = vocabulary.Find(*piece);
    if (found < 0) {
      ThrowBadInput(config.folder, StrCat("a piece of the vocabulary as ", key),
                    StrCat("'", *piece, "'"));
    }
    id = found;
  };
  apply(config.bos, "bos_token", special.bos);
  apply(config.eos, "eos_token", special.eos);
  apply(config.unk, "unk_token", special.unk);
  apply(config.pad, "pad_token", special.pad);
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
