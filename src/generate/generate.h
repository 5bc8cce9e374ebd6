// Generation for callers that know all their requests: the continuation of one prompt as tokens, or
// the texts of many requests. Both run an Engine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "generate/engine.h"
#include "generate/generation_request.h"

namespace qualm {

struct Context;

// Prompt tokens per forward pass of a single text: bounds the memory of long prompts.
inline constexpr size_t kPromptTokensPerPass = 512;

struct GenerateOptions {
  size_t max_tokens = 128;
  Sampling sampling;
  uint64_t seed = 0;
  std::vector<TokenId> ends;  // ids that end the text; empty: none does
};

// The new tokens, without the one that ends the text. `on_token` is called for each as it is made;
// returning false stops. Stops at the end of the model's context. Throws bad input if the prompt is
// empty or too long, and for a model whose logits are not finite.
std::vector<TokenId> Generate(const Decoder& decoder, std::span<const TokenId> prompt,
                              const GenerateOptions& options, const Context& context,
                              const std::function<bool(TokenId)>& on_token = {});

// What Generate asks of an engine, still without sinks: at least one token, at most `room`. Where
// max_tokens is 0 the sink has to refuse the token that is made.
EngineRequest MakeEngineRequest(std::span<const TokenId> prompt, const GenerateOptions& options,
                                size_t room);
// Throws bad input if a text ended because the model's logits were not finite.
void RequireFinite(EndReason reason);

struct GeneratorCounts {
  uint64_t requests = 0;         // asked
  uint64_t distinct = 0;         // that were different
  uint64_t prompt_tokens = 0;    // of the distinct ones
  uint64_t computed_tokens = 0;  // of prompts that went through the model
  uint64_t made_tokens = 0;
  uint64_t passes = 0;
};

// Called on this thread with the indexes of equal requests as soon as they are answered.
using GenerationSink =
    std::function<void(std::span<const size_t> requests, const GenerationAnswer& answer)>;
// Called after each forward pass: what was answered so far is to be kept.
using GenerationPassSink = std::function<void(uint64_t answered)>;

// Throws bad input, before any work, for a request that does not fit into the model's context (see
// Engine::Submit). Throws kFailed for a model whose logits are not finite.
GeneratorCounts GenerateTexts(const Decoder& decoder, const Tokenizer& tokenizer,
                              std::span<const GenerationRequest> requests,
                              const EngineOptions& options, const Context& context,
                              const GenerationSink& on_answer,
                              const GenerationPassSink& on_pass = {});

}  // namespace qualm
