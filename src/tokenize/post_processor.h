// The post-processor of a tokenizer.json: the tokens around a single text.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "tokenize/tokenizer.h"

namespace qualm {

// Reads TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (which adds nothing) and
// Sequence into `special`: the tokens before and after a text, the first token before it as BOS
// and the last one after it as EOS. `json` is the value of "post_processor"; null adds nothing. Any
// other is an error naming it.
void ReadPostProcessor(const Json& json, std::string_view place, SpecialTokens& special);

// Puts one token on each side; either may be absent.
void SetTemplate(std::optional<TokenId> before, std::optional<TokenId> after,
                 SpecialTokens& special);

}  // namespace qualm
