// What stands beside a tokenizer's own file: tokenizer_config.json, special_tokens_map.json and
// added_tokens.json. Every one of them may be missing.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/added_tokens.h"
#include "tokenize/tokenizer.h"
#include "tokenize/vocabulary.h"

namespace qualm {

struct TokenizerConfig {
  std::string folder;           // for messages
  std::string tokenizer_class;  // "LlamaTokenizer", "Qwen2TokenizerFast"; empty if not said
  std::optional<bool> add_bos, add_eos, add_prefix_space, legacy, cleans_up_spaces;
  std::optional<std::string> bos, eos, unk, pad;  // pieces
  std::vector<AddedToken> added_tokens;           // by id
  bool has_added_tokens_decoder = false;  // added_tokens says all flags, and they are the newest
  // Special tokens that the files name without an id (theirs is -1): by a role, as
  // bos_token does, and in the list of further ones.
  std::vector<AddedToken> named_tokens, further_tokens;
  // BERT's.
  std::optional<bool> do_lower_case, tokenize_chinese_chars, strip_accents;
  std::optional<std::string> cls, sep;
  int64_t extra_ids = 100;  // T5's
  InputSet inputs;          // the files that were there
};

// Keys that do not concern the text's way to ids and back (chat templates, lengths) are not read.
// Throws bad input for a value of the wrong type.
TokenizerConfig ReadTokenizerConfig(const std::filesystem::path& folder);

// The class without "Fast", which names the same tokenizer.
std::string ClassName(const TokenizerConfig& config);

// Makes `piece` a named special token if the vocabulary has it and no file names it.
void NameSpecialToken(std::string_view piece, const Vocabulary& vocabulary,
                      TokenizerConfig& config);

// Puts the configuration over what the tokenizer's own file said: named tokens, then the flags if
// they count. Throws bad input if the named BOS or EOS is not in `vocabulary` or a flag asks for a
// token that is not defined; another token that is unknown gives a warning.
void ApplyConfig(const TokenizerConfig& config, const Vocabulary& vocabulary, bool flags_count,
                 SpecialTokens& special, std::vector<std::string>& warnings);

}  // namespace qualm
