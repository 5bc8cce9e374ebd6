// The distance of a quantized layer from its float weights, measured on weights and on real inputs.
#pragma once

#include "artefact/manifest.h"
#include "artefact/quantized_linear.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;
class LinearWeight;

// mean (w − ŵ)² in double. Shapes [out, in].
double WeightMse(Span2D<const float> weight, Span2D<const float> quantized);

// X·Wᵀ for x [tokens, in], weight [out, in].
Matrix DenseProduct(Span2D<const float> x, Span2D<const float> weight, const Context& context);
// Σ (a − b)² in double. Shapes equal.
double SquaredDistance(Span2D<const float> a, Span2D<const float> b);

// ‖X·Wᵀ‖²_F over the rows of x [tokens, in].
double SquaredOutputNorm(Span2D<const float> x, const LinearWeight& weight, const Context& context);
double SquaredOutputNorm(Span2D<const float> x, Span2D<const float> weight, const Context& context);

// ‖X(W−Ŵ)ᵀ‖_F / ‖XWᵀ‖_F over the rows of x [tokens, in]; 0/0 is 0. NaN if only the float output is
// 0, since the error has nothing to be relative to. Norms in double.
double RelativeOutputError(Span2D<const float> x, Span2D<const float> weight,
                           Span2D<const float> quantized, const Context& context);

// ‖XWᵀ − Y‖_F / ‖XWᵀ‖_F, with Y the output of the quantized layer for X, rounded inputs and online
// transforms included; 0/0 is 0.
double RelativeProductError(Span2D<const float> x, Span2D<const float> weight,
                            const QuantizedLinear& layer, const Context& context);

}  // namespace qualm
