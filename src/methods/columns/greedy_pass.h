// Greedy coordinate descent on tr((W − Ŵ)·H·(W − Ŵ)ᵀ): each column in turn is rounded again, with
// all other columns fixed (QuIP, Chee et al. 2023, appendix).
#pragma once

#include "artefact/quantized_linear.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

// One pass over the columns in order; the proxy loss never grows (up to rounding). weight [out,
// in], gram [in, in] with damp·mean(diag) added to its diagonal; `layer` has the codes to start
// from and gets the new ones. Requires a kTensor scheme of integers.
void GreedyPass(Span2D<const float> weight, Span2D<const float> gram, double damp,
                QuantizedLinear& layer, const Context& context);

}  // namespace qualm
