// Turns a layer's Gram matrix XᵀX into what the column loop needs: H = 2/n·XᵀX gets an order of
// columns, damping on its diagonal, and the factor U with H⁻¹ = Uᵀ·U. The first attempt is made in
// float32; if it fails, damping grows tenfold in float64 (Frantar et al. 2023).
#include "methods/columns/hessian.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/context.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "tensor/linear_algebra.h"

namespace qualm {
namespace {

constexpr int kRaises = 3;  // how often the damping may be multiplied by 10

// H without damping, from either precision of the Gram matrix. Elements are computed when they are
// read, so there is no copy of the matrix.
class Hessian {
 public:
  explicit Hessian(const RounderInput& input)
      : gram_(input.gram),
        gram64_(input.gram64),
        n_(input.weight.cols()),
        factor_(2.0 / static_cast<double>(input.gram_tokens)) {
    QUALM_CHECK(input.gram_tokens > 0);
    QUALM_CHECK(is_double() ? gram64_.size() == n_ * n_ : gram_.rows() == n_ && gram_.cols() == n_);
  }

  bool is_double() const { return !gram64_.empty(); }
  size_t size() const { return n_; }
  double Gram(size_t r, size_t c) const {
    return is_double() ? gram64_[r * n_ + c] : double{gram_(r, c)};
  }
  double At(size_t r, size_t c) const { return factor_ * Gram(r, c); }

 private:
  Span2D<const float> gram_;
  std::span<const double> gram64_;
  size_t n_;
  double factor_;
};

void RequireFinite(const Hessian& hessian) {
  for (size_t r = 0; r < hessian.size(); ++r) {
    double sum = 0;  // NaN or infinite if an element is
    for (size_t c = 0; c <= r; ++c) sum += std::abs(hessian.Gram(r, c));
    if (std::isfinite(sum)) continue;
    ThrowExpected("finite calibration inputs",
                  StrCat(hessian.Gram(r, r), " on the diagonal of XᵀX"), StrCat("at input ", r));
  }
}

// diag(H), with 1 for dead columns, which are marked in `factor`.
std::vector<double> Diagonal(const Hessian& hessian, HessianFactor& factor) {
  std::vector<double> diagonal(hessian.size());
  factor.dead.assign(hessian.size(), 0);
  for (size_t c = 0; c < hessian.size(); ++c) {
    diagonal[c] = hessian.At(c, c);
    if (hessian.Gram(c, c) != 0) continue;
    diagonal[c] = 1;
    factor.dead[c] = 1;
    ++factor.dead_count;
  }
  return diagonal;
}

// Columns by falling diagonal; columns with equal values keep their order.
std::vector<uint32_t> FallingOrder(const std::vector<double>& diagonal) {
  std::vector<uint32_t> order(diagonal.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order,
                           [&](uint32_t a, uint32_t b) { return diagonal[a] > diagonal[b]; });
  return order;
}

// The lower triangle of H + λ·I, with rows and columns in the factor's order.
template <typename T>
void Fill(const Hessian& hessian, const HessianFactor& factor, const std::vector<double>& diagonal,
          double lambda, Span2D<T> matrix, const Context& context) {
  context.pool.ParallelFor(matrix.rows(), [&](size_t r) {
    auto column = [&](size_t p) -> size_t { return factor.order.empty() ? p : factor.order[p]; };
    const size_t row = column(r);
    for (size_t c = 0; c < r; ++c) {
      matrix(r, c) = static_cast<T>(hessian.At(row, column(c)));
    }
    matrix(r, r) = static_cast<T>(static_cast<T>(diagonal[row]) + static_cast<T>(lambda));
  });
}

bool FactorInFloat(const Hessian& hessian, const std::vector<double>& diagonal, double lambda,
                   HessianFactor& factor, const Context& context) {
  Matrix matrix = Matrix::Uninitialized(hessian.size(), hessian.size());
  Fill(hessian, factor, diagonal, lambda, matrix.view(), context);
  if (!InvertToUpperFactor(matrix.view(), context)) return false;
  factor.upper = std::move(matrix);
  return true;
}

bool FactorInDouble(const Hessian& hessian, const std::vector<double>& diagonal, double lambda,
                    HessianFactor& factor, const Context& context) {
  const size_t n = hessian.size();
  AlignedArray<double> values(n * n);
  Span2D<double> matrix(values.data(), n, n);
  Fill(hessian, factor, diagonal, lambda, matrix, context);
  if (!InvertToUpperFactor(matrix, context)) return false;
  factor.upper = Matrix::Uninitialized(n, n);
  ConvertToFloat(DType::kF64, values.data(), factor.upper.data(), n * n);
  // A factor that overflows or vanishes in float32 is as useless as a failed factorisation.
  for (size_t r = 0; r < n; ++r) {
    if (factor.upper(r, r) > 0 && std::isfinite(factor.upper(r, r))) continue;
    factor.upper = Matrix();
    return false;
  }
  return true;
}

// Moves `columns` (sorted) to the end; both parts keep their order.
void MoveToTheEnd(std::span<const uint32_t> columns, size_t size, std::vector<uint32_t>& order) {
  if (order.empty()) {
    order.resize(size);
    std::iota(order.begin(), order.end(), 0u);
  }
  std::stable_partition(order.begin(), order.end(),
                        [&](uint32_t c) { return !std::ranges::binary_search(columns, c); });
}

}  // namespace

HessianFactor FactorHessian(const RounderInput& input, const HessianOptions& options,
                            const Context& context) {
  const Hessian hessian(input);
  RequireFinite(hessian);
  HessianFactor factor;
  const std::vector<double> diagonal = Diagonal(hessian, factor);

  if (factor.dead_count == hessian.size()) return factor;

  // Act-order first, then the columns that a method wants last.
  if (options.act_order) factor.order = FallingOrder(diagonal);
  if (!options.last.empty()) MoveToTheEnd(options.last, hessian.size(), factor.order);

  // Damping is relative to the mean of the diagonal, dead columns included.
  const double mean =
      std::accumulate(diagonal.begin(), diagonal.end(), 0.0) / static_cast<double>(diagonal.size());
  double damping = options.damp;
  for (factor.attempts = 1;; ++factor.attempts) {
    factor.damping = damping;
    const bool in_double = hessian.is_double() || factor.attempts > 1;
    const bool worked = in_double
                            ? FactorInDouble(hessian, diagonal, damping * mean, factor, context)
                            : FactorInFloat(hessian, diagonal, damping * mean, factor, context);
    if (worked || factor.attempts > kRaises) return factor;
    damping = std::max(10 * damping, 0.001);
  }
}

HessianFactor IdentityFactor(size_t n) {
  HessianFactor factor;
  factor.dead.assign(n, 0);
  factor.upper = Matrix(n, n);
  for (size_t i = 0; i < n; ++i) factor.upper(i, i) = 1;
  return factor;
}

void DescribeFactor(const HessianFactor& factor, double damp_asked_for, RounderResult& result) {
  result.damping_attempts = factor.attempts;
  // There is no factor: say why.
  if (factor.upper.rows() == 0) {
    result.fell_back_to_rtn = true;
    result.notes.push_back(factor.attempts == 0
                               ? "all inputs were 0 in the calibration data: rounded to nearest"
                               : StrCat("the Gram matrix is not positive definite even with "
                                        "damping ",
                                        factor.damping, ": rounded to nearest"));
    return;
  }

  result.damping = factor.damping;
  if (factor.attempts > 1) {
    result.notes.push_back(StrCat("damping raised from ", damp_asked_for, " to ", factor.damping));
  }
}

const HessianFactor& FactorCache::Get(const RounderInput& input, const HessianOptions& options,
                                      const Context& context) {
  const bool is_double = !input.gram64.empty();
  if (!factor_ || options != options_ || is_double != is_double_) {
    factor_.reset();  // before the next one takes as much memory
    factor_ = FactorHessian(input, options, context);
    options_ = options;
    is_double_ = is_double;
  }
  return *factor_;
}

}  // namespace qualm
