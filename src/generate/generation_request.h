// A text asked of a model: what it says after a prompt (PROTOCOLS, section 3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/tokenizer.h"

namespace qualm {

// The version of the semantics below; stored results of another version are not reused. Since 2
// stop strings are matched on the text with special tokens in it.
inline constexpr int kGenerationProtocol = 2;

// One text to be generated: a prompt, when to stop, and how to draw.
struct GenerationRequest {
  std::vector<TokenId> tokens;  // of the prompt, at least one
  size_t max_tokens = 1;
  std::vector<std::string> stop;      // the text ends before the first of these
  double temperature = 0, top_p = 1;  // 0: greedy, the lowest id among equal logits
  uint64_t sample = 0;                // number of the draw; 0 if greedy
  // Ids that end the text besides the tokenizer's EOS, ascending (Model::OtherEnds).
  std::vector<TokenId> other_ends;

  // A hash of all fields: equal requests have equal answers.
  std::string Hash() const;
  // The same without `other_ends`: what the model is asked, whenever its text ends. Sampled tokens
  // are drawn from the stream of this name, so that another end cuts a text and changes no token.
  std::string PromptHash() const;
};

// Why a text is complete: at a stop string, at an id that ends texts, after max_tokens, or because
// a person who watched it asked for that.
enum class FinishReason : uint8_t { kStop, kEos, kLength, kInterrupted };
std::string_view FinishReasonName(FinishReason reason);
FinishReason FinishReasonFromName(std::string_view name);  // an unknown one is kLength

struct GenerationAnswer {
  std::string text;     // valid UTF-8, without the stop string
  uint64_t tokens = 0;  // generated, including the tokens of the stop string
  FinishReason reason = FinishReason::kLength;
};

// The prompt's tokens: a single BOS in front if the tokenizer asks for it, never EOS; an empty
// prompt becomes BOS, or EOS if there is no BOS. Throws bad input if the tokenizer has neither.
std::vector<TokenId> EncodeGenerationPrompt(const Tokenizer& tokenizer, std::string_view prompt);

}  // namespace qualm
