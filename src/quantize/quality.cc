#include "quantize/quality.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/packed.h"
#include "tensor/dense.h"

namespace qualm {
// A slice of tokens at a time, so that memory does not grow with them.
double SquaredOutputNorm(Span2D<const float> x, Span2D<const float> weight, ThreadPool& pool) {
  constexpr size_t kTokens = 1024;
  QUALM_CHECK(weight.stride() == weight.cols());
  auto product = MakeDenseWeight({weight.data(), DType::kF32, weight.rows(), weight.cols()}, pool);
  Matrix y = Matrix::Uninitialized(std::min(kTokens, x.rows()), weight.rows());
  std::vector<double> rows(x.rows());
  for (size_t first = 0; first < x.rows(); first += kTokens) {
    size_t count = std::min(kTokens, x.rows() - first);
    product->Multiply(x.Rows(first, count), y.view().Rows(0, count), pool);
    pool.ParallelFor(count, [&](size_t t) {
      double row = 0;
      for (float v : y.row(t)) row += static_cast<double>(v) * v;
      rows[first + t] = row;
    });
  }
  return std::accumulate(rows.begin(), rows.end(), 0.0);
}

double WeightMse(Span2D<const float> weight, Span2D<const float> quantized) {
  double total = 0;
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (size_t c = 0; c < weight.cols(); ++c) {
      double difference = static_cast<double>(weight(r, c)) - quantized(r, c);
      total += difference * difference;
    }
  }
  return total / (static_cast<double>(weight.rows()) * static_cast<double>(weight.cols()));
}

double RelativeOutputError(Span2D<const float> x, Span2D<const float> weight,
                           Span2D<const float> quantized, ThreadPool& pool) {
  Matrix difference = Matrix::Uninitialized(weight.rows(), weight.cols());
  pool.ParallelFor(weight.rows(), [&](size_t r) {
    for (size_t c = 0; c < weight.cols(); ++c) {
      difference(r, c) = weight(r, c) - quantized(r, c);
    }
  });
  double error = SquaredOutputNorm(x, difference, pool);
  double norm = SquaredOutputNorm(x, weight, pool);
  if (error == 0) return 0;
  return norm == 0 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(error / norm);
}

double RelativeProductError(Span2D<const float> x, Span2D<const float> weight,
                            const QuantizedLinear& layer, ThreadPool& pool) {
  auto exact = MakeDenseWeight({weight.data(), DType::kF32, weight.rows(), weight.cols()}, pool);
  auto quantized = MakePackedWeight(layer, pool);
  Matrix expected = Matrix::Uninitialized(x.rows(), weight.rows());
  Matrix got = Matrix::Uninitialized(x.rows(), weight.rows());
  exact->Multiply(x, expected, pool);
  quantized->Multiply(x, got, pool);
  double error = 0, norm = 0;
  for (size_t t = 0; t < x.rows(); ++t) {
    for (size_t r = 0; r < weight.rows(); ++r) {
      const double difference = double{expected(t, r)} - got(t, r);
      error += difference * difference;
      norm += double{expected(t, r)} * expected(t, r);
    }
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

}  // namespace qualm
