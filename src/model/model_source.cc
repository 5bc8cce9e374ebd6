// Applies what the command line says about a model to its config.json. Values are kept as JSON
// texts, so that a source can be compared, hashed and shown.
#include "model/model_source.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "formats/gguf_model.h"
#include "formats/peft_adapter.h"
#include "model/hub_cache.h"

namespace qualm {
namespace {

// The object that holds the last part of a dotted key, made where it is missing or null.
Json& HolderOf(Json& config, const std::vector<std::string>& parts, const std::string& place) {
  Json* holder = &config;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    Json& inner = (*holder)[parts[i]];
    if (inner.is_null()) inner = Json::object();
    if (!inner.is_object()) {
      ThrowBadInput(place, StrCat("'", parts[i], "' to be an object"), inner.type_name());
    }
    holder = &inner;
  }
  return *holder;
}

// The model's GGUF file where a folder holds nothing else: the only one, or the first of one split
// model. The folder itself if there is none, or no telling which.
std::filesystem::path GgufIn(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return folder;
  if (std::filesystem::exists(folder / "config.json", error)) return folder;
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator entries(folder, error), end; !error && entries != end;
       entries.increment(error)) {
    if (entries->path().extension() == ".gguf") files.push_back(entries->path());
  }
  std::ranges::sort(files);
  const bool is_split =
      !files.empty() && MatchesGlob(files[0].filename().string(), "*-00001-of-*.gguf");
  const bool is_one = files.size() == 1 || (is_split && GgufFile::Open(files[0]).files() == files);
  return is_one ? files[0] : folder;
}

}  // namespace

ConfigOverride ParseConfigOverride(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  const std::vector<std::string> parts = Split(key, '.');
  const bool has_key = std::ranges::none_of(parts, [](const auto& part) { return part.empty(); });
  if (equals == std::string::npos || !has_key) {
    ThrowBadInput("--config", "KEY=VALUE", StrCat("'", text, "'"),
                  "for example --config rope_theta=1000000");
  }

  const std::string value = text.substr(equals + 1);
  Json json = Json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) json = value;
  return {key, json.dump()};
}

bool ModelSource::operator==(const ModelSource& other) const {
  const auto is_same = [](const ConfigOverride& a, const ConfigOverride& b) {
    return a.key == b.key && a.value == b.value;
  };
  return folder == other.folder && ignored_tensors == other.ignored_tensors && read == other.read &&
         adapter == other.adapter && std::ranges::equal(config, other.config, is_same);
}

ModelSource MakeModelSource(const std::string& model, const std::vector<std::string>& config,
                            const std::vector<std::string>& ignored_tensors) {
  ModelSource source(GgufIn(FindModelFolder(model)));
  source.name = model;
  source.ignored_tensors = ignored_tensors;
  for (const std::string& text : config) source.config.push_back(ParseConfigOverride(text));

  // Their order does not matter, so it may not change a hash.
  std::ranges::sort(source.config, {}, &ConfigOverride::key);
  const auto twice = std::ranges::adjacent_find(source.config, {}, &ConfigOverride::key);
  if (twice != source.config.end()) {
    ThrowBadInput("--config", "each key once", StrCat("'", twice->key, "' twice"));
  }
  return source;
}

Json ReadModelConfig(const ModelSource& source) {
  Json config = IsGgufFile(source.folder) ? GgufModel::Open(source.folder)->config()
                                          : ReadJsonFile(source.folder / "config.json");
  if (source.config.empty() || !config.is_object()) return config;
  for (const ConfigOverride& override : source.config) {
    const std::vector<std::string> parts = Split(override.key, '.');
    Json& holder = HolderOf(config, parts, StrCat("--config ", override.key));
    holder[parts.back()] = Json::parse(override.value);
  }
  return config;
}

void AddOverrides(const ModelSource& source, InputSet& inputs) {
  if (!source.config.empty()) {
    Json config = Json::object();
    for (const ConfigOverride& override : source.config) {
      config[override.key] = Json::parse(override.value);
    }
    inputs.AddText("--config", config.dump());
  }
  if (!source.ignored_tensors.empty()) {
    inputs.AddText("--ignore-tensors", Json(source.ignored_tensors).dump());
  }
  if (source.read.gptq_zeros != GptqZeros::kAuto) {
    inputs.AddText("--gptq-zeros", NameOfEnum(source.read.gptq_zeros));
  }
  if (source.read.float32_weights) inputs.AddText("--weights", "float32");
  if (source.read.weights_only) inputs.AddText("--weights-only", "true");
  if (!source.adapter.empty()) inputs.Add(PeftAdapter::InputsOf(source.adapter));
}

}  // namespace qualm
