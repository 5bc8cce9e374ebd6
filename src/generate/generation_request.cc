// Hashes and prompts of text requests. Equal hashes mean equal answers, so everything that the text
// depends on is hashed.
#include "generate/generation_request.h"

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "tokenize/prompt.h"

namespace qualm {

std::string GenerationRequest::PromptHash() const {
  Hasher hasher;
  hasher.Add("generate");
  hasher.Add(std::string_view(reinterpret_cast<const char*>(tokens.data()),
                              tokens.size() * sizeof(TokenId)));
  hasher.Add(StrCat(max_tokens, " ", temperature, " ", top_p, " ", sample));
  for (const std::string& text : stop) hasher.Add(text);
  return hasher.Hex();
}

// Without other ends it is the hash of requests as they were before there were any.
std::string GenerationRequest::Hash() const {
  std::string hash = PromptHash();
  if (other_ends.empty()) return hash;
  Hasher hasher;
  hasher.Add(hash);
  for (TokenId id : other_ends) hasher.Add(StrCat("ends ", id));
  return hasher.Hex();
}

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kInterrupted:
      return "interrupted";
  }
  QUALM_CHECK(false);
  return "";
}

// Stores hold no texts that were interrupted.
FinishReason FinishReasonFromName(std::string_view name) {
  return name == "stop"  ? FinishReason::kStop
         : name == "eos" ? FinishReason::kEos
                         : FinishReason::kLength;
}

// Generation needs at least one token to start from: an empty prompt becomes BOS or its substitute.
std::vector<TokenId> EncodeGenerationPrompt(const Tokenizer& tokenizer, std::string_view prompt) {
  if (Trim(prompt).empty()) return {EmptyPrompt(tokenizer)};
  return EncodePrompt(tokenizer, prompt);
}

}  // namespace qualm
