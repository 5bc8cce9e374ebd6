// Hashes and prompts of text requests. Equal hashes mean equal answers, so everything that the text
// depends on is hashed.
#include "generate/generation_request.h"

#include "base/strings.h"
#include "io/hash.h"
#include "tokenize/prompt.h"

namespace qualm {

std::string GenerationRequest::Hash() const {
  Hasher hasher;
  hasher.Add("generate");
  hasher.Add(std::string_view(reinterpret_cast<const char*>(tokens.data()),
                              tokens.size() * sizeof(TokenId)));
  hasher.Add(StrCat(max_tokens, " ", temperature, " ", top_p, " ", sample));
  for (const std::string& text : stop) hasher.Add(text);
  return hasher.Hex();
}

std::string_view FinishReasonName(FinishReason reason) {
  return reason == FinishReason::kStop ? "stop" : reason == FinishReason::kEos ? "eos" : "length";
}

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
