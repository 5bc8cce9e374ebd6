// One thing asked of a model: how likely a continuation is behind a context (PROTOCOLS, section 2).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

// The version of the semantics below; results of another one are not taken for these.
inline constexpr int kLikelihoodProtocol = 1;

struct LikelihoodRequest {
  std::vector<TokenId> tokens;  // of both, at least one before the continuation
  size_t context_length = 0;    // tokens before the continuation

  size_t continuation_length() const { return tokens.size() - context_length; }
  // Of the tokens and where they are cut: equal requests have equal answers.
  std::string Hash() const;
};

struct LikelihoodAnswer {
  double log_likelihood = 0;  // sum over the continuation's tokens, natural logarithm
  bool is_greedy = false;     // every token of it was the likeliest
};

// The tokens of a prompt: BOS in front once, where the tokenizer asks for it or the text begins
// with it; never EOS.
std::vector<TokenId> EncodePrompt(const Tokenizer& tokenizer, std::string_view text);

// A context that several continuations share.
struct EncodedContext {
  std::string text;    // without the blanks at its end
  std::string blanks;  // which move to the continuation
  std::vector<TokenId> tokens;
};
// BOS stands in front once where the tokenizer asks for it; an empty context is BOS, else EOS.
// Throws bad input where the tokenizer has neither.
EncodedContext EncodeContext(const Tokenizer& tokenizer, std::string_view context);

// Both are tokenised together, then cut at the number of tokens of the context alone.
LikelihoodRequest MakeLikelihoodRequest(const Tokenizer& tokenizer, const EncodedContext& context,
                                        std::string_view continuation);

}  // namespace qualm
