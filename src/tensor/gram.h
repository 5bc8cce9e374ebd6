// Gram matrices: G += XᵀX.
#pragma once

#include "tensor/matrix.h"

namespace qualm {

class ThreadPool;

// gram += xᵀ·x, both triangles. x [tokens, in], gram [in, in]. Float32 accumulation within blocks
// of kGramBlock tokens, in rising token order; the same bits for any number of threads. Requires:
// gram is square with in = x.cols().
inline constexpr size_t kGramBlock = 256;
void AccumulateGram(Span2D<const float> x, Span2D<float> gram, ThreadPool& pool);

// The same with float64 accumulation (slower; for recipes that ask for it). gram [in, in]
// row-major.
void AccumulateGram64(Span2D<const float> x, Span2D<double> gram, ThreadPool& pool);

}  // namespace qualm
