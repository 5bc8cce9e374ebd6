// From logits to a token: the one place where a choice is made, and where it is refused.
#pragma once

#include <cstddef>
#include <span>

#include "tokenize/tokenizer.h"

namespace qualm {

class Rng;

// How a token is drawn. The steps come in the order of the fields, as in transformers; each is off
// by default.
struct Sampling {
  // Logits of tokens that are in the text already are divided by it if they are above 0, else
  // multiplied (Keskar et al. 2019); also when choosing greedily. 1: off.
  double repetition_penalty = 1;
  double temperature = 0;  // 0: greedy, and what follows has no effect
  size_t top_k = 0;        // only the k likeliest tokens (and equals of the last); 0: all
  double top_p = 1;        // nucleus: the smallest set of tokens with at least this probability
  double min_p = 0;        // only tokens with this share of the likeliest one's probability

  bool operator==(const Sampling&) const = default;
};

// Whether every logit is a number, neither NaN nor infinite.
bool AreFinite(std::span<const float> logits);

// The next token. Temperature 0 is greedy: the lowest id among the largest logits, and `random` is
// not drawn from. Otherwise one draw by SampleToken. Requires finite logits, at least one.
TokenId ChooseToken(std::span<const float> logits, const Sampling& sampling, Rng& random);

// The draw: softmax of logits / temperature (> 0), cut to the top_k likeliest tokens, then to the
// nucleus of those, the smallest set of likeliest tokens that holds at least `top_p` of their
// probability (Holtzman et al. 2020), then to those with at least `min_p` times the probability of
// the likeliest (Nguyen et al. 2024), which is always kept. `uniform` in [0, 1) picks one of them.
// The repetition penalty is not part of it.
TokenId SampleToken(std::span<const float> logits, const Sampling& sampling, double uniform);

// Applies the repetition penalty for every id of `seen`, once each, however often it is there.
// Requires ids below logits.size().
void PenalizeRepetition(std::span<const TokenId> seen, double penalty, std::span<float> logits);

}  // namespace qualm
