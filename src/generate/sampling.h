// From logits to a token: the one place where a choice is made, and where it is refused.
#pragma once

#include <span>

#include "tokenize/tokenizer.h"

namespace qualm {

class Rng;

// Whether every logit is a number, neither NaN nor infinite.
bool AreFinite(std::span<const float> logits);

// The next token. Temperature 0 is greedy: the lowest id among the largest logits, and `random` is
// not drawn from. Otherwise one draw by temperature and top_p. Requires finite logits, at least
// one.
TokenId ChooseToken(std::span<const float> logits, double temperature, double top_p, Rng& random);

// The draw: softmax of logits / temperature (> 0), cut to its nucleus, the smallest set of
// likeliest tokens that holds at least `top_p` of the probability (Holtzman et al. 2020); the
// likeliest token is always in it. `uniform` in [0, 1) picks one of the nucleus.
TokenId SampleToken(std::span<const float> logits, double temperature, double top_p,
                    double uniform);

}  // namespace qualm
