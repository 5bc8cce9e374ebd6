#include "evaluate/request.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"

namespace qualm {
std::vector<TokenId> EncodePrompt(const Tokenizer& tokenizer, std::string_view text) {
  const SpecialTokens& special = tokenizer.special();
  if (special.bos) {
    // Written out in front it is BOS, also where the tokenizer takes it for other pieces.
    const std::string written = tokenizer.Piece(*special.bos);
    std::vector<TokenId> ids = tokenizer.Encode(text);
    const bool is_written = !written.empty() && text.starts_with(written);
    if (is_written && (ids.empty() || ids[0] != *special.bos)) {
      ids = tokenizer.Encode(text.substr(written.size()));
      ids.insert(ids.begin(), *special.bos);
    } else if (special.add_bos && (ids.empty() || ids[0] != *special.bos)) {
      ids.insert(ids.begin(), *special.bos);
    }
    return ids;
  }
  return tokenizer.Encode(text);
}

std::string LikelihoodRequest::Hash() const {
  Hasher hasher;
  hasher.Add(std::string_view(reinterpret_cast<const char*>(tokens.data()),
                              tokens.size() * sizeof(TokenId)));
  hasher.Add(StrCat(context_length));
  return hasher.Hex();
}

EncodedContext EncodeContext(const Tokenizer& tokenizer, std::string_view context) {
  const size_t last = context.find_last_not_of(" \t\n\r");
  const size_t kept = last == std::string_view::npos ? 0 : last + 1;
  EncodedContext encoded;
  encoded.text = context.substr(0, kept);
  encoded.blanks = context.substr(kept);
  if (!encoded.text.empty()) {
    encoded.tokens = EncodePrompt(tokenizer, encoded.text);
    return encoded;
  }
  const SpecialTokens& special = tokenizer.special();
  const std::optional<TokenId> prefix = special.bos ? special.bos : special.eos;
  if (!prefix) {
    ThrowBadInput("request", "a tokenizer with BOS or EOS", "neither",
                  "a text without context needs a token in front");
  }
  encoded.tokens = {*prefix};
  return encoded;
}

LikelihoodRequest MakeLikelihoodRequest(const Tokenizer& tokenizer, const EncodedContext& context,
                                        std::string_view continuation) {
  LikelihoodRequest request;
  request.context_length = context.tokens.size();
  if (context.text.empty()) {
    request.tokens = tokenizer.Encode(context.blanks + std::string(continuation));
    if (request.tokens.empty() || request.tokens[0] != context.tokens[0]) {
      request.tokens.insert(request.tokens.begin(), context.tokens[0]);
    }
  } else {
    request.tokens = EncodePrompt(tokenizer, StrCat(context.text, context.blanks, continuation));
  }
  if (request.tokens.size() <= 1) {
    ThrowBadInput("request", "a continuation with a token", StrCat("'", continuation, "'"));
  }
  // A token that reaches over the border belongs to the continuation.
  request.context_length = std::min(request.context_length, request.tokens.size() - 1);
  return request;
}

}  // namespace qualm
