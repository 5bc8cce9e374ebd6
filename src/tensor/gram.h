// Gram matrices: G += XᵀX.
#pragma once

#include "tensor/matrix.h"

namespace qualm {

class ThreadPool;

// gram += xᵀ·x. x [tokens, in], gram [in, in] symmetric: only its upper triangle is read, both are
// written, exactly equal. Per block of kGramBlock tokens a fused chain from 0 over rising tokens;
// the sums of the blocks are added to gram in rising order. The same bits for any number of threads
// and, as long as they cut x between blocks, for any number of calls.
inline constexpr size_t kGramBlock = 256;
void AccumulateGram(Span2D<const float> x, Span2D<float> gram, ThreadPool& pool);

// The same with float64 accumulation (slower; for recipes that ask for it).
void AccumulateGram64(Span2D<const float> x, Span2D<double> gram, ThreadPool& pool);

}  // namespace qualm
