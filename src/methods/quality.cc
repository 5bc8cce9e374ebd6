// Error measures between a float layer and its quantized form, on weights and on outputs. Outputs
// are computed with the ordinary product, norms are added in double and in order of the rows.
#include "methods/quality.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/context.h"
#include "kernels/packed.h"
#include "tensor/dense.h"

namespace qualm {
Matrix DenseProduct(Span2D<const float> x, Span2D<const float> weight, const Context& context) {
  QUALM_CHECK(weight.stride() == weight.cols());
  Matrix y = Matrix::Uninitialized(x.rows(), weight.rows());
  MakeDenseWeight({weight.data(), DType::kF32, weight.rows(), weight.cols()}, context)
      ->Multiply(x, y, context);
  return y;
}

double SquaredDistance(Span2D<const float> a, Span2D<const float> b) {
  double total = 0;
  for (size_t r = 0; r < a.rows(); ++r) {
    for (size_t c = 0; c < a.cols(); ++c) {
      const double difference = double{a(r, c)} - b(r, c);
      total += difference * difference;
    }
  }
  return total;
}

// A slice of tokens at a time, so that memory does not grow with their number.
double SquaredOutputNorm(Span2D<const float> x, const LinearWeight& weight,
                         const Context& context) {
  constexpr size_t kTokens = 1024;
  Matrix y = Matrix::Uninitialized(std::min(kTokens, x.rows()), weight.out_features());
  std::vector<double> rows(x.rows());
  for (size_t first = 0; first < x.rows(); first += kTokens) {
    // One product for the slice, one sum for each of its rows.
    size_t count = std::min(kTokens, x.rows() - first);
    weight.Multiply(x.Rows(first, count), y.view().Rows(0, count), context);
    context.pool.ParallelFor(count, [&](size_t t) {
      double row = 0;
      for (float v : y.row(t)) row += static_cast<double>(v) * v;
      rows[first + t] = row;
    });
  }
  return std::accumulate(rows.begin(), rows.end(), 0.0);
}

double SquaredOutputNorm(Span2D<const float> x, Span2D<const float> weight,
                         const Context& context) {
  QUALM_CHECK(weight.stride() == weight.cols());
  return SquaredOutputNorm(
      x, *MakeDenseWeight({weight.data(), DType::kF32, weight.rows(), weight.cols()}, context),
      context);
}

double WeightMse(Span2D<const float> weight, Span2D<const float> quantized) {
  return SquaredDistance(weight, quantized) /
         (static_cast<double>(weight.rows()) * static_cast<double>(weight.cols()));
}

double RelativeOutputError(Span2D<const float> x, Span2D<const float> weight,
                           Span2D<const float> quantized, const Context& context) {
  // X·Wᵀ − X·Ŵᵀ = X·(W − Ŵ)ᵀ, so one product gives the error.
  Matrix difference = Matrix::Uninitialized(weight.rows(), weight.cols());
  context.pool.ParallelFor(weight.rows(), [&](size_t r) {
    for (size_t c = 0; c < weight.cols(); ++c) {
      difference(r, c) = weight(r, c) - quantized(r, c);
    }
  });

  double error = SquaredOutputNorm(x, difference, context);
  double norm = SquaredOutputNorm(x, weight, context);
  if (error == 0) return 0;
  return norm == 0 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(error / norm);
}

double RelativeProductError(Span2D<const float> x, Span2D<const float> weight,
                            const QuantizedLinear& layer, const Context& context) {
  const Matrix expected = DenseProduct(x, weight, context);
  Matrix got = Matrix::Uninitialized(x.rows(), weight.rows());
  MakePackedWeight(layer, context)->Multiply(x, got, context);

  const double error = SquaredDistance(expected, got);
  double norm = 0;
  for (size_t t = 0; t < expected.rows(); ++t) {
    for (float y : expected.row(t)) norm += double{y} * y;
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

}  // namespace qualm
