// Factorisations of symmetric matrices.
#pragma once

#include "tensor/matrix.h"

namespace qualm {

class ThreadPool;

// Replaces the symmetric positive definite H [n, n] by U, the upper triangular Cholesky factor of
// its inverse: H⁻¹ = Uᵀ·U, zeros below the diagonal. Only the lower triangle of H is read. With J
// the reversal of the index, J·H·J = L·Lᵀ and U = J·L⁻¹·J: one factorisation and one triangular
// inverse, 2/3·n³ operations; needs room for one more matrix while it works.
// Every element is one chain of fused multiply-adds in a fixed order: the same bits for any number
// of threads and any instruction set. Returns false if H is not positive definite in this precision
// or not finite; the matrix is then of no use. Requires: square, contiguous (stride = n).
[[nodiscard]] bool InvertToUpperFactor(Span2D<float> matrix, ThreadPool& pool);
[[nodiscard]] bool InvertToUpperFactor(Span2D<double> matrix, ThreadPool& pool);

}  // namespace qualm
