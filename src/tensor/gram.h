// Gram matrices: G += XᵀX.
#pragma once

#include "tensor/matrix.h"

namespace qualm {

struct Context;

// gram += xᵀ·x. x [tokens, in], gram [in, in] symmetric: only its upper triangle is read; both
// triangles are written and are exactly equal. Each block of kGramBlock tokens is a fused chain
// from 0 over rising tokens, and the sums of the blocks are added to gram in rising order. So the
// bits are the same for any number of threads and for any number of calls that cut x between
// blocks.
inline constexpr size_t kGramBlock = 256;
void AccumulateGram(Span2D<const float> x, Span2D<float> gram, const Context& context);

// The same with float64 accumulation (slower; for recipes that ask for it).
void AccumulateGram64(Span2D<const float> x, Span2D<double> gram, const Context& context);

}  // namespace qualm
