// Likelihood requests out of texts, and what makes two of them equal.
#include "evaluate/request.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "tokenize/blanks.h"
#include "tokenize/prompt.h"

namespace qualm {

std::string LikelihoodRequest::Hash() const {
  Hasher hasher;
  hasher.Add(std::string_view(reinterpret_cast<const char*>(tokens.data()),
                              tokens.size() * sizeof(TokenId)));
  hasher.Add(StrCat(context_length));
  return hasher.Hex();
}

// Blanks at the end move to the continuation, since tokenizers attach them to the next word.
EncodedContext EncodeContext(const Tokenizer& tokenizer, std::string_view context, bool with_bos) {
  const size_t kept = WithoutBlanksAtEnd(context).size();

  EncodedContext encoded;
  encoded.with_bos = with_bos;
  encoded.text = context.substr(0, kept);
  encoded.blanks = context.substr(kept);
  if (!encoded.text.empty()) {
    encoded.tokens = EncodePrompt(tokenizer, encoded.text, with_bos);
    return encoded;
  }
  encoded.tokens = {EmptyPrompt(tokenizer)};
  return encoded;
}

// Without a context text, that single token must be in front exactly once.
LikelihoodRequest MakeLikelihoodRequest(const Tokenizer& tokenizer, const EncodedContext& context,
                                        std::string_view continuation) {
  LikelihoodRequest request;
  request.context_length = context.tokens.size();

  // Context and continuation are tokenised as one text.
  if (context.text.empty()) {
    request.tokens = tokenizer.Encode(context.blanks + std::string(continuation));
    if (request.tokens.empty() || request.tokens[0] != context.tokens[0]) {
      request.tokens.insert(request.tokens.begin(), context.tokens[0]);
    }
  } else {
    request.tokens = EncodePrompt(tokenizer, StrCat(context.text, context.blanks, continuation),
                                  context.with_bos);
    // The context keeps its own tokens, whatever the text after it made of them.
    if (request.tokens.size() > context.tokens.size()) {
      std::ranges::copy(context.tokens, request.tokens.begin());
    }
  }

  if (request.tokens.size() <= 1) {
    ThrowBadInput("request", "a continuation with a token", StrCat("'", continuation, "'"));
  }

  // Where both together have no more tokens than the context, the last one is the continuation.
  request.context_length = std::min(request.context_length, request.tokens.size() - 1);
  return request;
}

}  // namespace qualm
