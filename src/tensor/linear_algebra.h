// Factorisations of symmetric matrices.
#pragma once

#include "tensor/matrix.h"

namespace qualm {

struct Context;

// Replaces the symmetric positive definite H [n, n] by U, the upper triangular Cholesky factor of
// its inverse: H⁻¹ = Uᵀ·U, zeros below the diagonal. Only the lower triangle of H is read. With J
// the reversal of the index, J·H·J = L·Lᵀ and U = J·L⁻¹·J: one factorisation and one triangular
// inverse, 2/3·n³ operations, and memory for one more matrix.
// Every element is one chain of fused multiply-adds in a fixed order, so the bits are the same for
// any number of threads and any instruction set. Returns false if H is not finite or not positive
// definite in this precision; the matrix is then unusable. Requires: square, contiguous (stride =
// n).
[[nodiscard]] bool InvertToUpperFactor(Span2D<float> matrix, const Context& context);
[[nodiscard]] bool InvertToUpperFactor(Span2D<double> matrix, const Context& context);

}  // namespace qualm
