// A likelihood request: how likely a continuation is, given a context (PROTOCOLS, section 2).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

// The version of the semantics below; stored results of another version are not reused.
inline constexpr int kLikelihoodProtocol = 1;

// Context and continuation as one sequence, and where the second begins.
struct LikelihoodRequest {
  std::vector<TokenId> tokens;  // of both, at least one before the continuation
  size_t context_length = 0;    // tokens before the continuation

  size_t continuation_length() const { return tokens.size() - context_length; }
  // A hash of the tokens and of where they are cut: equal requests have equal answers.
  std::string Hash() const;
};

struct LikelihoodAnswer {
  double log_likelihood = 0;  // sum over the continuation's tokens, natural logarithm
  bool is_greedy = false;     // every token of the continuation was the likeliest
};

// A context that several continuations share.
struct EncodedContext {
  std::string text;    // without the blanks at its end
  std::string blanks;  // which move to the continuation
  std::vector<TokenId> tokens;
  bool with_bos = true;
};
// A single BOS in front if the tokenizer asks for it; an empty context becomes BOS, or EOS if there
// is no BOS. Throws bad input if the tokenizer has neither. Without `with_bos` a context that is
// not empty gets none.
EncodedContext EncodeContext(const Tokenizer& tokenizer, std::string_view context,
                             bool with_bos = true);

// Both are tokenised together; what follows as many tokens as the context alone has is the
// continuation, and comes after the context's own tokens. These differ from the first tokens of
// both together where a token crosses the border. A continuation has at least one token.
LikelihoodRequest MakeLikelihoodRequest(const Tokenizer& tokenizer, const EncodedContext& context,
                                        std::string_view continuation);

}  // namespace qualm
