// Allocation, copies and conversion of Matrix; the views and accessors are inline in matrix.h.
#include "tensor/matrix.h"

#include <algorithm>

namespace qualm {

Matrix Matrix::Uninitialized(size_t rows, size_t cols) {
  Matrix m;
  m.values_ = AlignedArray<float>(CheckedProduct(rows, cols));
  m.rows_ = rows;
  m.cols_ = cols;
  return m;
}

Matrix::Matrix(size_t rows, size_t cols) : Matrix(Uninitialized(rows, cols)) {
  std::fill_n(values_.data(), rows * cols, 0.0f);
}

Matrix Matrix::CopyOf(Span2D<const float> from) {
  Matrix m = Uninitialized(from.rows(), from.cols());
  for (size_t r = 0; r < from.rows(); ++r) std::ranges::copy(from.row(r), m.row(r).begin());
  return m;
}

Matrix ToMatrix(const WeightView& weight) {
  Matrix m = Matrix::Uninitialized(weight.rows, weight.cols);
  ConvertToFloat(weight.type, weight.data, m.data(), weight.rows * weight.cols);
  return m;
}

}  // namespace qualm
