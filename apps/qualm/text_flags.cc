// Reads the flags that say how a text is drawn and where it ends, and shows both to the user before
// the text begins.
#include "text_flags.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "generate/model_sampling.h"
#include "model/model.h"

namespace qualm::cli {
namespace {

// "temperature 0.6, top_k 50"; "greedy".
std::string SamplingText(const Sampling& sampling) {
  std::vector<std::string> parts;
  const Json json = SamplingAsJson(sampling), defaults = SamplingAsJson(Sampling{});
  for (const auto& [key, value] : json.items()) {
    if (value != defaults[key]) parts.push_back(StrCat(key, " ", value.dump()));
  }
  if (sampling.temperature == 0) parts.insert(parts.begin(), "greedy");
  return Join(parts, ", ");
}

}  // namespace

void AddTextFlags(Arguments& arguments, TextFlags& flags) {
  // Where a text ends.
  arguments.Add("--max-tokens", flags.max_tokens, "New tokens at most").ShowDefault();
  arguments
      .Add("--stop", flags.stop,
           "End before this text, which may be a special token; may be given several times")
      .OnePerFlag()
      .NotEmpty("a text to stop at");
  arguments.Flag("--ignore-eos", flags.ignore_eos, "Continue after tokens that end a text");

  // How its tokens are drawn.
  arguments
      .Add("--sampling", flags.sampling,
           "flags: as the flags below say; model: as the model's generation_config.json says")
      .OneOf({"flags", "model"})
      .ShowDefault();
  arguments.Add("--temperature", flags.temperature, "0: greedy")
      .ShowDefault()
      .Within("a number of 0 or more", [](double value) { return value >= 0; });
  arguments.Add("--top-k", flags.top_k, "Only the k likeliest tokens; 0: all").ShowDefault();
  arguments.Add("--top-p", flags.top_p, "Nucleus sampling")
      .ShowDefault()
      .Within("a number above 0, at most 1", [](double value) { return value > 0 && value <= 1; });
  arguments
      .Add("--min-p", flags.min_p, "Only tokens with this share of the likeliest's probability")
      .ShowDefault()
      .Within("a number from 0 to 1", [](double value) { return value >= 0 && value <= 1; });
  arguments
      .Add("--repetition-penalty", flags.repetition_penalty,
           "Divides the logits of tokens that are in the text already")
      .ShowDefault()
      .Within("a number above 0", [](double value) { return value > 0; });
  arguments.Add("--seed", flags.seed, "Seed of the sampling").ShowDefault();
}

std::string ComplaintAbout(const TextFlags& flags) {
  if (flags.sampling != "model") return "";
  const TextFlags defaults;
  const bool is_set = flags.temperature != defaults.temperature || flags.top_k != defaults.top_k ||
                      flags.top_p != defaults.top_p || flags.min_p != defaults.min_p ||
                      flags.repetition_penalty != defaults.repetition_penalty;
  return is_set ? "[--sampling] expected flags with --temperature, --top-k, --top-p, --min-p and "
                  "--repetition-penalty; got model"
                : "";
}

GenerateOptions TextOptionsOf(const TextFlags& flags, const Model& model) {
  GenerateOptions options;
  options.max_tokens = flags.max_tokens;
  options.seed = flags.seed;
  if (!flags.ignore_eos) options.ends = model.EndsOfText();

  if (flags.sampling == "model") {
    options.sampling = ModelSampling(model.generation);
    return options;
  }
  options.sampling = {.repetition_penalty = flags.repetition_penalty,
                      .temperature = flags.temperature,
                      .top_k = flags.top_k,
                      .top_p = flags.top_p,
                      .min_p = flags.min_p};
  return options;
}

void ShowTextOptions(const TextFlags& flags, const GenerateOptions& options, const Model& model,
                     Progress& progress) {
  progress.Info(StrCat("ends at: ", TokensText(options.ends, model.tokenizer.get())));
  const bool is_models = flags.sampling == "model";
  progress.Info(StrCat("sampling: ", SamplingText(options.sampling),
                       is_models ? " (the model's generation_config.json)" : ""));

  // A model that asks for something else is worth a line: its authors measured it that way.
  const Json settings = SettingsAsJson(model.generation);
  if (is_models || settings.empty()) return;
  std::vector<std::string> parts;
  for (const auto& [key, value] : settings.items()) {
    parts.push_back(StrCat(key, " ", value.dump().substr(0, 60)));
  }
  progress.Info(StrCat("the model's generation_config.json: ", Join(parts, ", "),
                       " (not used; --sampling model)"));
}

Json SamplingAsJson(const Sampling& sampling) {
  return {{"temperature", sampling.temperature},
          {"top_k", sampling.top_k},
          {"top_p", sampling.top_p},
          {"min_p", sampling.min_p},
          {"repetition_penalty", sampling.repetition_penalty}};
}

Json TokensAsJson(const std::vector<TokenId>& ids, const Tokenizer* tokenizer) {
  Json json = Json::array();
  for (TokenId id : ids) {
    Json token = {{"id", id}};
    if (tokenizer != nullptr) token["piece"] = tokenizer->Piece(id);
    json.push_back(std::move(token));
  }
  return json;
}

std::string TokensText(const std::vector<TokenId>& ids, const Tokenizer* tokenizer) {
  std::vector<std::string> parts;
  for (TokenId id : ids) {
    parts.push_back(tokenizer == nullptr ? StrCat(id) : StrCat(id, " ", tokenizer->Piece(id)));
  }
  return parts.empty() ? "nothing" : Join(parts, ", ");
}

Json SettingsAsJson(const GenerationConfig& config) {
  Json json = Json::object();
  for (const SamplingSetting& setting : config.sampling) {
    json[setting.key] = ParseJson(setting.value, setting.key);
  }
  return json;
}

}  // namespace qualm::cli
