// Text to a prompt's tokens, with the one rule of where BOS goes.
#include "tokenize/prompt.h"

#include <optional>
#include <string>

#include "base/error.h"

namespace qualm {

std::vector<TokenId> EncodePrompt(const Tokenizer& tokenizer, std::string_view text,
                                  bool with_bos) {
  const SpecialTokens& special = tokenizer.special();
  if (!special.bos) return tokenizer.Encode(text);

  // Written out in front it is BOS, also where the tokenizer takes it for other pieces.
  const std::string written = tokenizer.Piece(*special.bos);
  const bool is_written = !written.empty() && text.starts_with(written);
  std::vector<TokenId> ids = tokenizer.Encode(text);
  if (is_written && (ids.empty() || ids[0] != *special.bos)) {
    ids = tokenizer.Encode(text.substr(written.size()));
    ids.insert(ids.begin(), *special.bos);
  } else if (with_bos && special.add_bos && (ids.empty() || ids[0] != *special.bos)) {
    ids.insert(ids.begin(), *special.bos);
  }
  return ids;
}

TokenId EmptyPrompt(const Tokenizer& tokenizer) {
  const SpecialTokens& special = tokenizer.special();
  const std::optional<TokenId> prefix = special.bos ? special.bos : special.eos;
  if (!prefix) {
    ThrowBadInput("request", "a tokenizer with BOS or EOS", "neither",
                  "a text without context needs a token in front");
  }
  return *prefix;
}

}  // namespace qualm
