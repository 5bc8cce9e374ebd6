// What a model's folder says about the texts that it writes: which ids end one (config.json and
// generation_config.json), and how tokens are drawn unless a user says otherwise
// (generation_config.json). The keys are those of the transformers library.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "io/input_set.h"
#include "model/model_source.h"
#include "tokenize/tokenizer.h"

namespace qualm {

// A key of generation_config.json that changes which tokens are chosen.
struct SamplingSetting {
  std::string key;
  std::string value;          // as JSON
  bool is_supported = false;  // by generate/model_sampling.h
  bool is_neutral = false;    // the value changes nothing
};

struct GenerationConfig {
  std::vector<TokenId> ends;              // ids that end a text, ascending
  std::vector<SamplingSetting> sampling;  // in the order of the file, without nulls
  std::vector<std::string> warnings;      // what was left out, and why
  InputSet inputs;                        // generation_config.json, if there is one
};

// Reads eos_token_id (an id, a list of ids or null) of both files and the sampling keys of
// generation_config.json, which may be missing; config.json may not. Ids that the model can never
// choose (negative, or not below `vocab_size`) are left out with a warning, as transformers does.
// Throws bad input for files that are not JSON objects and for an eos_token_id of another type.
GenerationConfig ReadGenerationConfig(const ModelSource& source, size_t vocab_size);

// All ids that end a text, ascending: those of the configuration and the tokenizer's EOS. The
// tokenizer may be null.
std::vector<TokenId> EndsOfText(const GenerationConfig& config, const Tokenizer* tokenizer);
// The same without the tokenizer's EOS.
std::vector<TokenId> OtherEnds(const GenerationConfig& config, const Tokenizer* tokenizer);

}  // namespace qualm
