// The flags of the commands that write a text (generate, chat), and what is shown of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli.h"
#include "generate/generate.h"

namespace qualm {
struct GenerationConfig;
struct Model;
}  // namespace qualm

namespace qualm::cli {

struct TextFlags {
  uint64_t max_tokens = 128, seed = 0, top_k = 0;
  double temperature = 0, top_p = 1, min_p = 0, repetition_penalty = 1;
  std::string sampling = "flags";  // whose settings: "flags" or "model"
  std::vector<std::string> stop;
  bool ignore_eos = false;
};

void AddTextFlags(Arguments& arguments, TextFlags& flags);

// What is wrong with the combination of flags, for Arguments::Check; empty: nothing.
std::string ComplaintAbout(const TextFlags& flags);

// Throws bad input under --sampling model for settings of the model that cannot be followed.
GenerateOptions TextOptionsOf(const TextFlags& flags, const Model& model);

// Tells what ends a text and how tokens are drawn, and what the model's own settings are if they
// are not used.
void ShowTextOptions(const TextFlags& flags, const GenerateOptions& options, const Model& model,
                     Progress& progress);

// The keys of transformers: temperature, top_k, ...
Json SamplingAsJson(const Sampling& sampling);

// [{"id": 2, "piece": "</s>"}, ...]; without a tokenizer only ids.
Json TokensAsJson(const std::vector<TokenId>& ids, const Tokenizer* tokenizer);
// "2 </s>, 263 <|turn|>"; "nothing" if there are none.
std::string TokensText(const std::vector<TokenId>& ids, const Tokenizer* tokenizer);

// The settings of generation_config.json that change a text, as the file has them.
Json SettingsAsJson(const GenerationConfig& config);

}  // namespace qualm::cli
