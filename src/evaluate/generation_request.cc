// Hashes and prompts of text requests. Prompts are encoded as for likelihoods (request.h).
#include "evaluate/generation_request.h"

#include "base/strings.h"
#include "evaluate/request.h"
#include "io/hash.h"

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

std::vector<TokenId> EncodeGenerationPrompt(const Tokenizer& tokenizer, std::string_view prompt) {
  if (Trim(prompt).empty()) return EncodeContext(tokenizer, "").tokens;
  return EncodePrompt(tokenizer, prompt);
}

}  // namespace qualm
