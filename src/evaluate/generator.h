// Generates many texts at once. Every pass carries one token of each text that is being written and
// the prompts of those that begin (continuous batching). The prefix that a prompt shares with one
// in some cache is copied from there. A text does not depend on the other texts.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "generate/generation_request.h"

namespace qualm {

struct Context;
class Decoder;

struct GeneratorOptions {
  size_t batch_tokens = 2048;                // of a forward pass, approximately
  size_t sequences = 64;                     // written at the same time, at most
  uint64_t cache_bytes = uint64_t{2} << 30;  // of all caches together, about; at least one cache
};

// How much work was asked for and how much was done; the difference is what sharing saved.
struct GeneratorCounts {
  uint64_t requests = 0;         // in total
  uint64_t distinct = 0;         // different ones
  uint64_t prompt_tokens = 0;    // of the distinct ones
  uint64_t computed_tokens = 0;  // of prompts that went through the model
  uint64_t made_tokens = 0;
  uint64_t passes = 0;
};

// Called on this thread with the indexes of equal requests as soon as they are answered.
using GenerationSink =
    std::function<void(std::span<const size_t> requests, const GenerationAnswer& answer)>;
// Called after each forward pass, so that the answers so far can be kept.
using GenerationPassSink = std::function<void(uint64_t answered)>;

// Requires: every prompt with its max_tokens fits into the model's context. Throws kFailed for a
// model whose logits are not finite.
GeneratorCounts GenerateTexts(const Decoder& decoder, const Tokenizer& tokenizer,
                              std::span<const GenerationRequest> requests,
                              const GeneratorOptions& options, const Context& context,
                              const GenerationSink& on_answer,
                              const GenerationPassSink& on_pass = {});

}  // namespace qualm
