// Slow, obvious twins of the matrix products: what the fast kernels are tested against.
#pragma once

#include "tensor/matrix.h"

namespace qualm::reference {

// y = x·Wᵀ by the definition of linear.h, one multiply-add after the other. w [out, in].
void Multiply(Span2D<const float> x, Span2D<const float> w, Span2D<float> y);

// The same sums in double. The products are exact, so the result is within in·2⁻⁵³·Σ|x||w|.
void MultiplyInDouble(Span2D<const float> x, Span2D<const float> w, Span2D<double> y);

// Σ_k |x[m,k]|·|w[n,k]|, the size of the terms that rounding errors are relative to.
void MagnitudeOfTerms(Span2D<const float> x, Span2D<const float> w, Span2D<double> y);

// gram += xᵀ·x by the definition of gram.h. x [tokens, in], gram [in, in].
void AccumulateGram(Span2D<const float> x, Span2D<float> gram);
void AccumulateGramInDouble(Span2D<const float> x, Span2D<double> gram);

// The largest relative error (to the magnitude of the terms) of a sum in float of `in` products in
// blocks of `block`: every rounding adds at most 2⁻²⁴ of the magnitude, and a term goes through at
// most block + ceil(in / block) of them. The factor 1.01 covers the second-order terms.
double FloatSumBound(size_t in, size_t block);

}  // namespace qualm::reference
