// Reads which ids end a text and how tokens are drawn. End of text is a set: transformers, vLLM and
// llama.cpp stop at any id that one of these files names, not only at the tokenizer's EOS.
#include "model/generation_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "io/json.h"

namespace qualm {
namespace {

constexpr const char* kFileName = "generation_config.json";

// Keys that change which tokens are chosen, with the values at which they change nothing (JSON
// texts, separated by blanks). Null changes nothing for any of them. Lengths (max_length,
// max_new_tokens) are not here: the caller says how long a text may be.
struct SamplingKey {
  const char* name;
  bool is_supported;
  const char* neutral;
};
constexpr SamplingKey kSamplingKeys[] = {
    {"do_sample", true, "false"},
    {"temperature", true, "1 1.0"},
    {"top_k", true, "0"},
    {"top_p", true, "1 1.0"},
    {"min_p", true, "0 0.0"},
    {"repetition_penalty", true, "1 1.0"},
    // What follows is refused by --sampling model.
    {"num_beams", false, "1"},
    {"num_beam_groups", false, "1"},
    {"num_return_sequences", false, "1"},
    {"penalty_alpha", false, "0 0.0"},
    {"typical_p", false, "1 1.0"},
    {"top_h", false, ""},
    {"epsilon_cutoff", false, "0 0.0"},
    {"eta_cutoff", false, "0 0.0"},
    {"diversity_penalty", false, "0 0.0"},
    {"encoder_repetition_penalty", false, "1 1.0"},
    {"no_repeat_ngram_size", false, "0"},
    {"encoder_no_repeat_ngram_size", false, "0"},
    {"bad_words_ids", false, "[]"},
    {"force_words_ids", false, "[]"},
    {"constraints", false, "[]"},
    {"forced_bos_token_id", false, ""},
    {"forced_eos_token_id", false, ""},
    {"forced_decoder_ids", false, "[]"},
    {"remove_invalid_values", false, "false"},
    {"exponential_decay_length_penalty", false, ""},
    {"suppress_tokens", false, "[]"},
    {"begin_suppress_tokens", false, "[]"},
    {"sequence_bias", false, "[] {}"},
    {"token_healing", false, "false"},
    {"guidance_scale", false, "1 1.0"},
    {"watermarking_config", false, ""},
    {"dola_layers", false, ""},
    {"stop_strings", false, "[] \"\""},
    {"min_length", false, "0"},
    {"min_new_tokens", false, "0"},
};

// Collects the ids of a file; the place is the file's path.
class EndCollector {
 public:
  EndCollector(size_t vocab_size, GenerationConfig& config)
      : vocab_size_(vocab_size), config_(config) {}

  void Add(const Json& file, const std::string& path) {
    const auto found = file.find("eos_token_id");
    if (found == file.end() || found->is_null()) return;
    place_ = StrCat(path, ": eos_token_id");
    if (!found->is_array()) return AddId(*found);
    for (const Json& id : *found) AddId(id);
  }

 private:
  void AddId(const Json& id) {
    if (!id.is_number_integer()) {
      ThrowBadInput(place_, "a token id, a list of token ids or null", id.dump().substr(0, 60));
    }

    // The sign first: JSON has whole numbers that only an unsigned type can hold.
    const bool is_negative = !id.is_number_unsigned() && id.get<int64_t>() < 0;
    if (is_negative || id.get<uint64_t>() >= vocab_size_) {
      config_.warnings.push_back(StrCat(place_, " ", id.dump(),
                                        " is left out: the model's ids are 0 to ", vocab_size_ - 1,
                                        ", so it can never end a text"));
      return;
    }
    config_.ends.push_back(static_cast<TokenId>(id.get<uint64_t>()));
  }

  size_t vocab_size_;
  GenerationConfig& config_;
  std::string place_;
};

Json ObjectFrom(Json json, std::string_view place) {
  if (!json.is_object()) ThrowBadInput(place, "a JSON object", json.type_name());
  return json;
}

// The settings in the order of the file, so that a reader finds them again.
std::vector<SamplingSetting> SettingsOf(const Json& file) {
  std::vector<SamplingSetting> settings;
  for (const auto& [name, value] : file.items()) {
    const std::string& key = name;  // Clang 14 lets no lambda take a structured binding
    const auto known = std::ranges::find_if(
        kSamplingKeys, [&](const SamplingKey& candidate) { return key == candidate.name; });
    if (known == std::end(kSamplingKeys) || value.is_null()) continue;

    const std::string text = value.dump();
    const std::vector<std::string> neutral = Split(known->neutral, ' ');
    const bool is_neutral = std::ranges::find(neutral, text) != neutral.end();
    settings.push_back({key, text, known->is_supported, is_neutral});
  }
  return settings;
}

}  // namespace

GenerationConfig ReadGenerationConfig(const ModelSource& source, size_t vocab_size) {
  GenerationConfig config;
  EndCollector ends(vocab_size, config);
  const std::string model_file = (source.folder / "config.json").string();
  ends.Add(ObjectFrom(ReadModelConfig(source), model_file), model_file);

  const std::filesystem::path file = source.folder / kFileName;
  if (std::filesystem::exists(file)) {
    config.inputs.Add(kFileName, file);
    const Json json = ObjectFrom(ReadJsonFile(file), file.string());
    ends.Add(json, file.string());
    config.sampling = SettingsOf(json);
  }

  // Both files usually name the same ids.
  std::ranges::sort(config.ends);
  config.ends.erase(std::unique(config.ends.begin(), config.ends.end()), config.ends.end());
  std::ranges::sort(config.warnings);
  return config;
}

std::vector<TokenId> OtherEnds(const GenerationConfig& config, const Tokenizer* tokenizer) {
  std::vector<TokenId> ends = config.ends;
  if (tokenizer != nullptr && tokenizer->special().eos) std::erase(ends, *tokenizer->special().eos);
  return ends;
}

std::vector<TokenId> EndsOfText(const GenerationConfig& config, const Tokenizer* tokenizer) {
  std::vector<TokenId> ends = OtherEnds(config, tokenizer);
  if (tokenizer != nullptr && tokenizer->special().eos) ends.push_back(*tokenizer->special().eos);
  std::ranges::sort(ends);
  return ends;
}

}  // namespace qualm
