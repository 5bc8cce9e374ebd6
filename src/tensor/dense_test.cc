#include "tensor/dense.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "base/thread_pool.h"

namespace qualm {
namespace {

Matrix Random(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix m(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.Normal());
  return m;
}

Matrix Slow(Span2D<const float> x, Span2D<const float> w) {
  Matrix y(x.rows(), w.rows());
  for (size_t m = 0; m < x.rows(); ++m) {
    for (size_t n = 0; n < w.rows(); ++n) {
      float total = 0;
      for (size_t k0 = 0; k0 < x.cols(); k0 += kReductionBlock) {
        float sum = 0;
        for (size_t k = k0; k < std::min(k0 + kReductionBlock, x.cols()); ++k) {
          sum = std::fma(w(n, k), x(m, k), sum);
        }
        total += sum;
      }
      y(m, n) = total;
    }
  }
  return y;
}

TEST(DenseTest, EqualsTheDefinitionBitForBit) {
  for (size_t threads : {1, 2, 3}) {
    ThreadPool pool(static_cast<int>(threads));
    for (auto [m, n, k] : std::vector<std::array<size_t, 3>>{
             {1, 1, 1}, {3, 17, 5}, {5, 33, 300}, {0, 4, 4}, {17, 16, 256}, {2, 100, 513}}) {
      Matrix x = Random(m, k, 1), w = Random(n, k, 2), y(m, n);
      auto weight = MakeDenseWeight({w.data(), DType::kF32, n, k}, pool);
      weight->Multiply(x, y, pool);
      Matrix expected = Slow(x, w);
      EXPECT_EQ(std::memcmp(y.data(), expected.data(), m * n * sizeof(float)), 0)
          << m << " " << n << " " << k;
    }
  }
}

}  // namespace
}  // namespace qualm
