// Reads the chat templates and special tokens of a model folder in the order of precedence of
// transformers' PreTrainedTokenizerBase.from_pretrained.
#include "chat/model_templates.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "chat/chat_template.h"
#include "io/gguf.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargestFile = uint64_t{16} << 20;

// The object in a file of the folder; an empty one if the file is missing.
Json ReadObject(const fs::path& folder, const char* name, InputSet& inputs) {
  const fs::path file = folder / name;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return Json::object();

  inputs.Add(name, file);
  Json object = ParseJson(ReadFile(file, kLargestFile), file.string());
  if (!object.is_object()) ThrowBadInput(file.string(), "an object", object.type_name());
  return object;
}

// A special token has a key that ends in _token, and is a text or an object with its "content".
void AddSpecialTokens(const Json& config, Json& tokens) {
  for (const auto& [name, token] : config.items()) {
    if (!name.ends_with("_token") || tokens.contains(name)) continue;
    if (token.is_string()) tokens[name] = token;
    const auto content = token.is_object() ? token.find("content") : token.end();
    if (content != token.end() && content->is_string()) tokens[name] = *content;
  }
}

// One text, or a list of named ones.
void AddTemplatesOfConfig(const Json& config, const std::string& place,
                          std::vector<ModelTemplate>& templates) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return;
  const std::string here = StrCat(place, ", chat_template");
  if (found->is_string()) {
    templates.push_back({"default", found->get<std::string>(), here});
    return;
  }

  if (!found->is_array()) {
    ThrowBadInput(place, "chat_template as a text, or a list of named ones", found->type_name());
  }
  for (const Json& one : *found) {
    const std::string name = GetString(one, "name", here);
    templates.push_back({name, GetString(one, "template", here), StrCat(here, " ", name)});
  }
}

void AddTemplateFile(const fs::path& file, std::string name, std::string role,
                     ModelTemplates& all) {
  all.inputs.Add(std::move(role), file);
  all.templates.push_back({std::move(name), ReadFile(file, kLargestFile), file.string()});
}

// The template and the special tokens in the metadata of a GGUF file; further templates have
// other names there.
void AddGguf(const GgufFile& file, bool with_templates, ModelTemplates& all) {
  for (const fs::path& path : file.files()) all.inputs.Add(path.filename().string(), path);
  const std::vector<std::string_view> pieces = file.Texts("tokenizer.ggml.tokens");
  for (const char* role : {"bos", "eos"}) {
    const std::string key = StrCat("tokenizer.ggml.", role, "_token_id");
    if (file.Find(key) == nullptr) continue;
    const uint64_t id = file.Unsigned(key);
    if (id < pieces.size()) all.special_tokens[StrCat(role, "_token")] = std::string(pieces[id]);
  }
  if (!with_templates) return;

  constexpr std::string_view kKey = "tokenizer.chat_template";
  const std::string place = StrCat(file.place(), ", ", kKey);
  if (file.Find(kKey) != nullptr) all.templates.push_back({"default", file.Text(kKey), place});
  for (const std::string_view name : file.Texts("tokenizer.chat_templates")) {
    const std::string key = StrCat(kKey, ".", name);
    if (file.Find(key) == nullptr) continue;
    all.templates.push_back({std::string(name), file.Text(key), StrCat(place, " ", name)});
  }
}

}  // namespace

ModelTemplates ReadModelTemplates(const fs::path& folder, bool with_templates) {
  ModelTemplates all;
  all.special_tokens = Json::object();
  if (folder.empty()) return all;
  if (IsGgufFile(folder)) {
    AddGguf(GgufFile::Open(folder), with_templates, all);
    return all;
  }
  const Json config = ReadObject(folder, "tokenizer_config.json", all.inputs);
  // transformers reads the older file only where the tokens are not described in the newer one.
  if (!config.contains("added_tokens_decoder")) {
    AddSpecialTokens(ReadObject(folder, "special_tokens_map.json", all.inputs), all.special_tokens);
  }
  AddSpecialTokens(config, all.special_tokens);
  if (!with_templates) return all;

  std::error_code ignored;
  const fs::path beside = folder / "chat_template.jinja";
  if (fs::exists(beside, ignored)) AddTemplateFile(beside, "default", "chat_template.jinja", all);
  const fs::path more = folder / kMoreTemplatesFolder;
  std::vector<fs::path> files;
  if (fs::is_directory(more, ignored)) {
    for (const auto& entry : fs::directory_iterator(more)) {
      if (entry.path().extension() == ".jinja") files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    AddTemplateFile(file, file.stem().string(),
                    StrCat(kMoreTemplatesFolder, "/", file.filename().string()), all);
  }

  if (all.templates.empty()) {
    AddTemplatesOfConfig(config, (folder / "tokenizer_config.json").string(), all.templates);
  }
  return all;
}

const ModelTemplate& ChooseModelTemplate(const ModelTemplates& all, bool has_tools,
                                         std::string_view folder, std::string_view flag) {
  const auto find = [&](std::string_view name) {
    return std::ranges::find(all.templates, name, &ModelTemplate::name);
  };
  auto found = has_tools ? find("tool_use") : all.templates.end();
  if (found == all.templates.end()) found = find("default");
  if (found != all.templates.end()) return *found;

  if (all.templates.empty()) {
    std::vector<std::string> names;
    for (const NamedChatTemplate& one : NamedChatTemplates()) names.emplace_back(one.name);
    ThrowBadInput(folder, "a chat template in tokenizer_config.json or chat_template.jinja", "none",
                  StrCat(flag, " takes one by name: ", Join(names, ", ")));
  }
  std::vector<std::string> names;
  for (const ModelTemplate& one : all.templates) names.push_back(one.name);
  ThrowBadInput(folder, "a chat template named default", Join(names, ", "),
                StrCat(flag, " takes one by name"));
}

}  // namespace qualm
