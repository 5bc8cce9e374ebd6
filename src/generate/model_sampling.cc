// Turns the settings of a generation_config.json into a Sampling, or says which of them cannot be
// followed.
#include "generate/model_sampling.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "io/json.h"

namespace qualm {
namespace {

// The path of the file that the settings are from.
std::string PlaceOf(const GenerationConfig& config) {
  constexpr std::string_view kFile = "generation_config.json";
  const InputFile* file = config.inputs.Find(kFile);
  return file == nullptr ? std::string(kFile) : file->path;
}

// What transformers takes for keys that are not in the file, when it samples.
constexpr double kDefaultTemperature = 1;
constexpr size_t kDefaultTopK = 50;

// Typed access to the settings by key; a key that is not there has the fallback's value.
class Settings {
 public:
  explicit Settings(const GenerationConfig& config)
      : place_(PlaceOf(config)), object_(Json::object()) {
    for (const SamplingSetting& setting : config.sampling) {
      object_[setting.key] = ParseJson(setting.value, StrCat(place_, ": ", setting.key));
    }
  }

  bool Flag(std::string_view key) const { return GetBool(object_, key, place_, false); }

  double Number(std::string_view key, double fallback, double least, double most) const {
    const double value = GetDouble(object_, key, place_, fallback);
    if (value >= least && value <= most) return value;
    ThrowBadInput(StrCat(place_, ": ", key), StrCat("a number from ", least, " to ", most),
                  StrCat(value));
  }

  // A factor, for which 0 has no meaning.
  double Above0(std::string_view key, double fallback) const {
    constexpr double kMost = 1e6;
    const double value = Number(key, fallback, 0, kMost);
    if (value > 0) return value;
    ThrowBadInput(StrCat(place_, ": ", key), "a number above 0", StrCat(value));
  }

  size_t Count(std::string_view key, size_t fallback) const {
    const int64_t value = GetInt(object_, key, place_, static_cast<int64_t>(fallback));
    if (value >= 0) return static_cast<size_t>(value);
    ThrowBadInput(StrCat(place_, ": ", key), "a whole number, 0 or more", StrCat(value));
  }

 private:
  std::string place_;
  Json object_;
};

}  // namespace

Sampling ModelSampling(const GenerationConfig& config) {
  for (const SamplingSetting& setting : config.sampling) {
    if (setting.is_supported || setting.is_neutral) continue;
    ThrowBadInput(StrCat(PlaceOf(config), ": ", setting.key), "a setting that qualm can follow",
                  setting.value.substr(0, 60),
                  "leave out --sampling model and set temperature, top-p and the like by flags");
  }

  // The penalty also changes which token is the likeliest, the others only how one is drawn.
  const Settings settings(config);
  Sampling sampling;
  sampling.repetition_penalty = settings.Above0("repetition_penalty", 1);
  const double temperature = settings.Number("temperature", kDefaultTemperature, 0, 1e6);
  sampling.top_k = settings.Count("top_k", kDefaultTopK);
  sampling.top_p = settings.Number("top_p", 1, 0, 1);
  sampling.min_p = settings.Number("min_p", 0, 0, 1);
  if (!settings.Flag("do_sample")) {
    return {.repetition_penalty = sampling.repetition_penalty};
  }

  sampling.temperature = settings.Above0("temperature", temperature);
  return sampling;
}

}  // namespace qualm
