// What stands beside a tokenizer's own file: tokenizer_config.json, special_tokens_map.json and
// added_tokens.json. Every one of them may be missing.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tokenize/added_tokens.h"
#include "tokenize/tokenizer.h"
#include "tokenize/vocabulary.h"

namespace qualm {

struct TokenizerConfig {
  std::string folder;           // for messages
  std::string tokenizer_class;  // "LlamaTokenizer", "Qwen2Tokenizer"; empty if not said
  std::optional<bool> add_bos, add_eos, add_prefix_space, legacy;
  std::optional<std::string> bos, eos, unk, pad;  // pieces
  std::vector<AddedToken> added_tokens;           // by id
  InputSet inputs;                                // the files that were there
};

// Keys that do not concern the text's way to ids and back (chat templates, lengths) are not read.
// Throws bad input for a value of the wrong type.
TokenizerConfig ReadTokenizerConfig(const std::filesystem::path& folder);

// Puts the configuration over what the tokenizer's own file said: named tokens, then the flags.
// Throws bad input if a named token is not in `vocabulary` or a flag asks for a token that is not
// defined.
void ApplyConfig(const TokenizerConfig& config, const Vocabulary& vocabulary,
                 SpecialTokens& special);

}  // namespace qualm
