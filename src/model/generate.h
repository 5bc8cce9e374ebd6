// Continues one prompt, greedily or by sampling.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace qualm {

struct Context;

struct GenerateOptions {
  size_t max_tokens = 128;
  double temperature = 0;  // 0: greedy (the lowest id among equal logits)
  double top_p = 1;        // nucleus: the smallest set of tokens with at least this probability
  uint64_t seed = 0;
  bool stop_at_eos = true;
  std::optional<TokenId> eos;
};

// Returns the new tokens, without EOS. `on_token` is called for each new token; returning false
// stops. Stops at the end of the model's context. Throws bad input if the prompt is empty or too
// long.
std::vector<TokenId> Generate(const Decoder& decoder, std::span<const TokenId> prompt,
                              const GenerateOptions& options, const Context& context,
                              const std::function<bool(TokenId)>& on_token = {});

// One draw from logits by temperature and top_p (temperature > 0), `uniform` in [0, 1).
TokenId SampleToken(std::span<const float> logits, double temperature, double top_p,
                    double uniform);

}  // namespace qualm
