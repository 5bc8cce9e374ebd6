// Matrices of seeded normal numbers.
#pragma once

#include "base/rng.h"
#include "tensor/matrix.h"

namespace qualm::testing {

inline Matrix RandomMatrix(size_t rows, size_t cols, uint64_t seed, double mean = 0) {
  Rng rng(seed);
  Matrix matrix(rows, cols);
  for (size_t r = 0; r < rows; ++r) {
    for (float& v : matrix.row(r)) v = static_cast<float>(rng.Normal() + mean);
  }
  return matrix;
}

// One in `share` numbers `factor` times larger: heavy tails.
inline Matrix HeavyTails(size_t rows, size_t cols, uint64_t seed, uint64_t share, double factor) {
  Rng rng(seed);
  Matrix matrix(rows, cols);
  for (size_t r = 0; r < rows; ++r) {
    for (float& v : matrix.row(r)) {
      v = static_cast<float>(rng.Normal() * (rng.Below(share) == 0 ? factor : 1));
    }
  }
  return matrix;
}

}  // namespace qualm::testing
