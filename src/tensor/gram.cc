// Gram matrices, see gram.h.
#include "tensor/gram.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"

namespace qualm {
namespace {

constexpr size_t kRowsAtOnce = 4;

template <typename T>
void AccumulateRows(Span2D<const float> x, Span2D<T> gram, size_t first_row, size_t rows,
                    size_t first_token, size_t tokens, T* sums) {
  size_t n = x.cols();
  std::fill_n(sums, rows * n, T{0});
  for (size_t t = first_token; t < first_token + tokens; ++t) {
    const float* token = x.row(t).data();
    for (size_t r = 0; r < rows; ++r) {
      T factor = token[first_row + r];
      T* sum = sums + r * n;
      for (size_t c = first_row; c < n; ++c) sum[c] = std::fma(factor, T{token[c]}, sum[c]);
    }
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = first_row + r; c < n; ++c) gram(first_row + r, c) += sums[r * n + c];
  }
}

template <typename T>
void Accumulate(Span2D<const float> x, Span2D<T> gram, ThreadPool& pool) {
  size_t n = x.cols();
  QUALM_CHECK(gram.rows() == n && gram.cols() == n);
  pool.ParallelFor((n + kRowsAtOnce - 1) / kRowsAtOnce, [&](size_t strip) {
    size_t first_row = strip * kRowsAtOnce, rows = std::min(kRowsAtOnce, n - first_row);
    std::vector<T> sums(rows * n);
    for (size_t t = 0; t < x.rows(); t += kGramBlock) {
      AccumulateRows(x, gram, first_row, rows, t, std::min(kGramBlock, x.rows() - t), sums.data());
    }
  });
  for (size_t r = 0; r < n; ++r) {
    for (size_t c = 0; c < r; ++c) gram(r, c) = gram(c, r);
  }
}

}  // namespace

void AccumulateGram(Span2D<const float> x, Span2D<float> gram, ThreadPool& pool) {
  Accumulate(x, gram, pool);
}

void AccumulateGram64(Span2D<const float> x, Span2D<double> gram, ThreadPool& pool) {
  Accumulate(x, gram, pool);
}

}  // namespace qualm
