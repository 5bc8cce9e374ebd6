// The tokens that a model is given in front of what it continues or is scored on.
#pragma once

#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

// The tokens of a prompt: BOS in front once, where the tokenizer asks for it or the text begins
// with it; never EOS. Without `with_bos` only where the text itself has it.
std::vector<TokenId> EncodePrompt(const Tokenizer& tokenizer, std::string_view text,
                                  bool with_bos = true);

// What a model sees in front of a text without a prompt: BOS, else EOS. Throws bad input where the
// tokenizer has neither.
TokenId EmptyPrompt(const Tokenizer& tokenizer);

}  // namespace qualm
