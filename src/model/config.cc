#include "model/config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "model/family.h"

namespace qualm {
namespace {

// Larger values in a config.json are a damaged or hostile file, not a model.
constexpr int64_t kLargestSize = int64_t{1} << 24;

size_t ReadSize(const Json& json, std::string_view key, std::string_view place, int64_t fallback) {
  int64_t value = fallback > 0 ? GetInt(json, key, place, fallback) : GetInt(json, key, place);
  if (value < 1 || value > kLargestSize) {
    ThrowBadInput(StrCat(place, ":", key), StrCat("a size in 1..", kLargestSize), StrCat(value));
  }
  return static_cast<size_t>(value);
}

double ReadPositive(const Json& json, std::string_view key, std::string_view place,
                    double fallback) {
  double value = GetDouble(json, key, place, fallback);
  // Beyond these bounds rotary frequencies leave the range of a float.
  if (!(value >= 1e-12 && value <= 1e12)) {
    ThrowBadInput(StrCat(place, ":", key), "a positive number from 1e-12 to 1e12", StrCat(value));
  }
  return value;
}

bool HasValue(const Json& json, const char* key) {
  return json.contains(key) && !json[key].is_null();
}

RopeScaling ParseRopeScaling(const Json& json, std::string_view place) {
  RopeScaling scaling;
  // Newer files put scaling and theta together under "rope_parameters".
  const char* key = HasValue(json, "rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!HasValue(json, key)) return scaling;
  const Json& object = json[key];
  std::string inner = StrCat(place, ":", key);
  if (!object.is_object()) ThrowBadInput(inner, "an object or null", object.dump());
  // Older files spell the key "type".
  std::string kind = GetString(object, "rope_type", inner, GetString(object, "type", inner, ""));
  if (kind == "default" || (kind.empty() && !HasValue(object, "factor"))) return scaling;
  scaling.factor = ReadPositive(object, "factor", inner, 1);
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
  } else if (kind == "llama3") {
    scaling.kind = RopeScaling::Kind::kLlama3;
    scaling.low_freq_factor = ReadPositive(object, "low_freq_factor", inner, 1);
    scaling.high_freq_factor = ReadPositive(object, "high_freq_factor", inner, 4);
    scaling.original_context =
        ReadPositive(object, "original_max_position_embeddings", inner, 8192);
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      ThrowBadInput(inner, "high_freq_factor above low_freq_factor",
                    StrCat(scaling.high_freq_factor, " and ", scaling.low_freq_factor));
    }
  } else {
    ThrowUnknownName(inner, "rope_type", kind,
                     std::vector<std::string>{"default", "linear", "llama3"});
  }
  return scaling;
}

void CheckShape(const ModelConfig& config, std::string_view place) {
  if (config.heads % config.kv_heads != 0) {
    ThrowBadInput(StrCat(place, ":num_key_value_heads"),
                  StrCat("a divisor of num_attention_heads ", config.heads),
                  StrCat(config.kv_heads));
  }
  for (const auto& [features, heads_key] :
       {std::pair{config.q_features(), "num_attention_heads"},
        std::pair{config.kv_features(), "num_key_value_heads"}}) {
    if (features <= kLargestSize) continue;
    ThrowBadInput(StrCat(place, ":", heads_key), StrCat("heads of in all at most ", kLargestSize),
                  StrCat(features), "head_dim times the number of heads");
  }
  if (config.head_dim % 2 != 0) {
    ThrowBadInput(StrCat(place, ":head_dim"), "an even number (rotary pairs)",
                  StrCat(config.head_dim));
  }
}

}  // namespace

ModelConfig ParseModelConfig(const Json& json, std::string_view place) {
  if (!json.is_object()) ThrowBadInput(place, "a JSON object", json.type_name());
  ModelConfig config;
  config.model_type = GetString(json, "model_type", place);
  const Family& family = FindFamily(config.model_type, place);
  std::string activation = GetString(json, "hidden_act", place, "silu");
  if (activation != "silu") {
    ThrowBadInput(StrCat(place, ":hidden_act"), "silu", activation);
  }
  config.hidden_size = ReadSize(json, "hidden_size", place, 0);
  config.intermediate_size = ReadSize(json, "intermediate_size", place, 0);
  config.layers = ReadSize(json, "num_hidden_layers", place, 0);
  config.heads = ReadSize(json, "num_attention_heads", place, 0);
  config.kv_heads = ReadSize(
      json, "num_key_value_heads", place,
      static_cast<int64_t>(family.default_kv_heads > 0 ? family.default_kv_heads : config.heads));
  if ((!json.contains("head_dim") || json["head_dim"].is_null()) &&
      config.hidden_size % config.heads != 0) {
    ThrowBadInput(StrCat(place, ":hidden_size"),
                  StrCat("a multiple of num_attention_heads ", config.heads),
                  StrCat(config.hidden_size), "or an explicit head_dim");
  }
  config.head_dim =
      ReadSize(json, "head_dim", place,
               std::max<int64_t>(1, static_cast<int64_t>(config.hidden_size / config.heads)));
  config.vocab_size = ReadSize(json, "vocab_size", place, 0);
  config.context = ReadSize(json, "max_position_embeddings", place,
                            static_cast<int64_t>(family.default_context));
  config.rms_norm_eps = ReadPositive(json, "rms_norm_eps", place, 1e-6);
  config.rope_scaling = ParseRopeScaling(json, place);
  bool newer = HasValue(json, "rope_parameters") && HasValue(json["rope_parameters"], "rope_theta");
  config.rope_theta =
      ReadPositive(newer ? json["rope_parameters"] : json, "rope_theta", place, 10000);
  config.tied_embeddings = GetBool(json, "tie_word_embeddings", place, false);
  family.complete_config(json, place, config);
  CheckShape(config, place);
  return config;
}

ModelConfig ReadModelConfig(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    ThrowBadInput(folder.string(), "a model folder with config.json and safetensors",
                  std::filesystem::exists(folder) ? "a file" : "nothing at this path");
  }
  std::filesystem::path path = folder / "config.json";
  return ParseModelConfig(ReadJsonFile(path), path.string());
}

std::vector<double> RopeInverseFrequencies(const ModelConfig& config) {
  size_t half = config.head_dim / 2;
  const RopeScaling& scaling = config.rope_scaling;
  std::vector<double> result(half);
  for (size_t i = 0; i < half; ++i) {
    double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
    double frequency = std::pow(config.rope_theta, -exponent);
    if (scaling.kind == RopeScaling::Kind::kLinear) {
      frequency /= scaling.factor;
    } else if (scaling.kind == RopeScaling::Kind::kLlama3) {
      // Long waves are stretched by the factor, short ones kept, those between interpolated.
      double turns = scaling.original_context * frequency / (2 * M_PI);
      double smooth =
          (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
      smooth = std::min(1.0, std::max(0.0, smooth));
      frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
    }
    result[i] = frequency;
  }
  return result;
}

}  // namespace qualm
