// Salience-determined bit allocation of SliM-LLM (Huang et al. 2024, section 3.2).
#pragma once

#include <cstdint>
#include <vector>

#include "artefact/scheme.h"
#include "methods/columns/hessian.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

// Bits of each group: N = scheme.bits for most, N − 1 for the i least salient and N + 1 for the i
// most salient ones, so that the mean stays N. Salience of a group: Σ w²/U_jj² over its columns and
// all rows. i in 0..groups/2 is the one for which the softmax over the output channels, with
// weights rounded to nearest, is nearest to the float layer's: the smallest KL(quantized ‖ float),
// mean over the sampled rows (at most 512 of them). Ties: fewer changed groups, lower index.
std::vector<uint8_t> AllocateGroupBits(Span2D<const float> weight, const Scheme& scheme,
                                       const HessianFactor& factor, Span2D<const float> sample,
                                       const Context& context);

}  // namespace qualm
