// Builds Hadamard and Kronecker rotations and applies them to rows and columns. Hadamard matrices
// are Sylvester's construction times one of Paley's two (Hedayat, Wallis 1978); Kronecker products
// of random orthogonal matrices follow QuIP (Chee et al. 2023, section 4.1).
#include "tensor/rotation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/context.h"
#include "base/rng.h"

namespace qualm {
namespace {

constexpr size_t kLargestPaley = 512;  // every row is multiplied with it as a dense matrix

bool IsPrime(size_t n) {
  if (n < 2) return false;
  for (size_t d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return true;
}

// Paley's first construction makes a matrix of size q + 1, the second makes one of size 2·(q + 1).
bool HasPaleyOne(size_t m) { return m % 4 == 0 && IsPrime(m - 1); }
bool HasPaleyTwo(size_t m) { return m % 4 == 0 && (m / 2 - 1) % 4 == 1 && IsPrime(m / 2 - 1); }

// The size m of the dense factor of an n x n Hadamard matrix: 1, a Paley size, or 0 if there is no
// such matrix.
size_t DenseFactor(size_t n) {
  if (n == 0) return 0;

  size_t odd = n;
  while (odd % 2 == 0) odd /= 2;
  if (odd == 1) return 1;

  for (size_t m = odd; m <= std::min(n, kLargestPaley); m *= 2) {
    if (n % m == 0 && (HasPaleyOne(m) || HasPaleyTwo(m))) return m;
  }
  return 0;
}

// χ(a) for a = 0 .. q - 1: 0 for a = 0, 1 for squares modulo the prime q, −1 otherwise.
std::vector<float> QuadraticCharacter(size_t q) {
  std::vector<float> chi(q, -1.0f);
  chi[0] = 0;
  for (size_t a = 1; a < q; ++a) chi[a * a % q] = 1;
  return chi;
}

// The bordered Jacobsthal matrix [q + 1, q + 1]: zeros on the diagonal, ±1 elsewhere. It is skew
// for q = 3 mod 4 and symmetric for q = 1 mod 4.
Matrix Conference(size_t q) {
  const std::vector<float> chi = QuadraticCharacter(q);
  Matrix c(q + 1, q + 1);
  for (size_t i = 1; i <= q; ++i) {
    c(0, i) = 1;
    c(i, 0) = q % 4 == 3 ? -1.0f : 1.0f;
    for (size_t j = 1; j <= q; ++j) c(i, j) = chi[(i + q - j) % q];
  }
  return c;
}

// A Hadamard matrix of size m by the construction that exists for m.
Matrix Paley(size_t m) {
  Matrix h(m, m);
  // The first construction: C + I.
  if (HasPaleyOne(m)) {
    const Matrix c = Conference(m - 1);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < m; ++j) h(i, j) = c(i, j) + (i == j ? 1.0f : 0.0f);
    }
    return h;
  }

  // The second construction: C ⊗ [1 1; 1 −1] + I ⊗ [1 −1; −1 −1].
  const Matrix c = Conference(m / 2 - 1);
  constexpr float kOff[2][2] = {{1, 1}, {1, -1}}, kDiagonal[2][2] = {{1, -1}, {-1, -1}};
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < m; ++j) {
      h(i, j) = i / 2 == j / 2 ? kDiagonal[i % 2][j % 2] : c(i / 2, j / 2) * kOff[i % 2][j % 2];
    }
  }
  return h;
}

// Sums and differences at distance 1, 2, 4, ... (the fast Walsh-Hadamard transform, unscaled).
void WalshHadamard(float* x, size_t n) {
  for (size_t half = 1; half < n; half *= 2) {
    for (size_t first = 0; first < n; first += 2 * half) {
      float* const low = x + first;
      float* const high = low + half;
      for (size_t i = 0; i < half; ++i) {
        const float a = low[i], b = high[i];
        low[i] = a + b;
        high[i] = a - b;
      }
    }
  }
}

// Q = H·D. The constructor builds the dense Paley factor of a block and draws the signs; applying
// needs O(n·(log n + m)) operations for a dense factor of size m.
class HadamardRotation final : public Rotation {
 public:
  HadamardRotation(size_t n, size_t block, std::optional<uint64_t> seed)
      : n_(n), block_(block), dense_(DenseFactor(block)), signs_(n, 1.0f) {
    QUALM_CHECK(block > 0 && n % block == 0 && dense_ > 0);

    // Both orders are kept, so that Apply and ApplyTransposed read rows.
    if (dense_ > 1) {
      paley_ = Paley(dense_);
      transposed_ = Matrix(dense_, dense_);
      for (size_t i = 0; i < dense_; ++i) {
        for (size_t j = 0; j < dense_; ++j) transposed_(i, j) = paley_(j, i);
      }
    }

    if (!seed) return;
    // Without a seed all signs stay 1.
    Rng rng(*seed, "hadamard signs");
    for (float& sign : signs_) sign = rng.Next() >> 63 == 0 ? 1.0f : -1.0f;
  }

  size_t size() const override { return n_; }

  void Apply(std::span<float> x) const override {
    for (size_t i = 0; i < n_; ++i) x[i] *= signs_[i];
    for (size_t first = 0; first < n_; first += block_) RotateBlock(x.data() + first, paley_);
  }

  void ApplyTransposed(std::span<float> x) const override {
    for (size_t first = 0; first < n_; first += block_) RotateBlock(x.data() + first, transposed_);
    for (size_t i = 0; i < n_; ++i) x[i] *= signs_[i];
  }

 private:
  // One block: the power of two runs along memory, the dense factor across it.
  void RotateBlock(float* x, const Matrix& dense) const {
    const size_t fast = block_ / dense_;
    for (size_t i = 0; i < dense_; ++i) WalshHadamard(x + i * fast, fast);

    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(block_)));
    if (dense_ == 1) {
      for (size_t i = 0; i < block_; ++i) x[i] *= scale;
      return;
    }

    // The dense factor mixes whole runs of `fast` numbers.
    const std::vector<float> copy(x, x + block_);
    for (size_t i = 0; i < dense_; ++i) {
      float* const to = x + i * fast;
      std::fill_n(to, fast, 0.0f);
      for (size_t j = 0; j < dense_; ++j) {
        const float h = dense(i, j);
        const float* const from = copy.data() + j * fast;
        for (size_t k = 0; k < fast; ++k) to[k] += h * from[k];
      }
      for (size_t k = 0; k < fast; ++k) to[k] *= scale;
    }
  }

  size_t n_, block_, dense_;
  Matrix paley_, transposed_;
  std::vector<float> signs_;
};

// Q = (A ⊗ B)·P. A row is permuted, seen as a matrix X [p, q], and becomes A·X·Bᵀ.
class KroneckerRotation final : public Rotation {
 public:
  KroneckerRotation(size_t p, size_t q, std::span<const float> factors, uint64_t seed)
      : p_(p), q_(q), a_(p, p), a_transposed_(p, p), b_(q, q), b_transposed_(q, q), order_(p * q) {
    QUALM_CHECK(p > 0 && q > 0 && factors.size() == p * p + q * q);

    for (size_t i = 0; i < p; ++i) {
      for (size_t j = 0; j < p; ++j) a_(i, j) = a_transposed_(j, i) = factors[i * p + j];
    }
    for (size_t i = 0; i < q; ++i) {
      for (size_t j = 0; j < q; ++j) b_(i, j) = b_transposed_(j, i) = factors[p * p + i * q + j];
    }

    std::iota(order_.begin(), order_.end(), size_t{0});
    Rng rng(seed, "kronecker permutation");
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng.Below(i)]);
  }

  size_t size() const override { return order_.size(); }

  void Apply(std::span<float> x) const override {
    std::vector<float> moved(x.size());
    for (size_t i = 0; i < moved.size(); ++i) moved[i] = x[order_[i]];
    Multiply(a_, b_transposed_, moved.data(), x.data());
  }

  void ApplyTransposed(std::span<float> x) const override {
    std::vector<float> moved(x.size());
    Multiply(a_transposed_, b_, x.data(), moved.data());
    for (size_t i = 0; i < moved.size(); ++i) x[order_[i]] = moved[i];
  }

 private:
  // to = left·X·right with X [p, q] = from.
  void Multiply(const Matrix& left, const Matrix& right, const float* from, float* to) const {
    // First X·right, row by row ...
    std::vector<float> inner(p_ * q_, 0.0f);
    for (size_t i = 0; i < p_; ++i) {
      for (size_t k = 0; k < q_; ++k) {
        const float x = from[i * q_ + k];
        for (size_t j = 0; j < q_; ++j) inner[i * q_ + j] += x * right(k, j);
      }
    }

    // ... then left times that. Inner loops run along rows, so they vectorize.
    std::fill_n(to, p_ * q_, 0.0f);
    for (size_t i = 0; i < p_; ++i) {
      for (size_t k = 0; k < p_; ++k) {
        const float a = left(i, k);
        for (size_t j = 0; j < q_; ++j) to[i * q_ + j] += a * inner[k * q_ + j];
      }
    }
  }

  size_t p_, q_;
  Matrix a_, a_transposed_, b_, b_transposed_;
  std::vector<size_t> order_;
};

// Gram-Schmidt over the rows of a Gaussian matrix, done twice for accuracy. The result has the rows
// of a uniformly distributed orthogonal matrix.
std::vector<double> RandomOrthogonal(size_t n, Rng& rng) {
  std::vector<double> rows(n * n);
  for (double& v : rows) v = rng.Normal();
  for (size_t i = 0; i < n; ++i) {
    double* const row = rows.data() + i * n;
    // Subtract what the row has in common with earlier rows; the second pass removes the rounding
    // errors of the first.
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t j = 0; j < i; ++j) {
        const double* const other = rows.data() + j * n;
        double dot = 0;
        for (size_t c = 0; c < n; ++c) dot += row[c] * other[c];
        for (size_t c = 0; c < n; ++c) row[c] -= dot * other[c];
      }
    }

    double norm = 0;
    for (size_t c = 0; c < n; ++c) norm += row[c] * row[c];
    for (size_t c = 0; c < n; ++c) row[c] /= std::sqrt(norm);
  }
  return rows;
}

}  // namespace

bool HasHadamard(size_t n) { return DenseFactor(n) > 0; }

size_t LargestHadamardBlock(size_t n) {
  size_t best = 1;
  for (size_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    for (size_t block : {d, n / d}) {
      if (block > best && HasHadamard(block)) best = block;
    }
  }
  return best;
}

std::unique_ptr<Rotation> MakeHadamard(size_t n, size_t block, uint64_t seed) {
  return std::make_unique<HadamardRotation>(n, block, seed);
}

std::unique_ptr<Rotation> MakePlainHadamard(size_t n, size_t block) {
  return std::make_unique<HadamardRotation>(n, block, std::nullopt);
}

std::unique_ptr<Rotation> MakeKronecker(size_t p, size_t q, std::span<const float> factors,
                                        uint64_t seed) {
  return std::make_unique<KroneckerRotation>(p, q, factors, seed);
}

std::vector<float> DrawKroneckerFactors(size_t p, size_t q, uint64_t seed) {
  Rng rng(seed, "kronecker factors");
  std::vector<double> all = RandomOrthogonal(p, rng);
  const std::vector<double> second = RandomOrthogonal(q, rng);
  all.insert(all.end(), second.begin(), second.end());
  return {all.begin(), all.end()};
}

std::pair<size_t, size_t> KroneckerSizes(size_t n) {
  QUALM_CHECK(n > 0);
  auto p = static_cast<size_t>(std::sqrt(static_cast<double>(n)));
  // Count down from √n to the next divisor.
  while (p * p > n || n % p != 0) --p;
  return {p, n / p};
}

void RotateRows(const Rotation& rotation, bool transposed, Span2D<float> matrix,
                const Context& context) {
  QUALM_CHECK(matrix.cols() == rotation.size());
  context.pool.ParallelFor(matrix.rows(), [&](size_t r) {
    if (transposed) {
      rotation.ApplyTransposed(matrix.row(r));
    } else {
      rotation.Apply(matrix.row(r));
    }
  });
}

void RotateColumns(const Rotation& rotation, bool transposed, Span2D<float> matrix,
                   const Context& context) {
  QUALM_CHECK(matrix.rows() == rotation.size());
  constexpr size_t kColumns = 16;  // read together: a cache line of each row
  context.pool.ParallelFor((matrix.cols() + kColumns - 1) / kColumns, [&](size_t piece) {
    const size_t first = piece * kColumns, count = std::min(kColumns, matrix.cols() - first);
    Matrix columns(count, matrix.rows());
    // Copy 16 columns into rows, rotate them, and copy them back.
    for (size_t r = 0; r < matrix.rows(); ++r) {
      for (size_t c = 0; c < count; ++c) columns(c, r) = matrix(r, first + c);
    }

    for (size_t c = 0; c < count; ++c) {
      if (transposed) {
        rotation.ApplyTransposed(columns.row(c));
      } else {
        rotation.Apply(columns.row(c));
      }
    }

    for (size_t r = 0; r < matrix.rows(); ++r) {
      for (size_t c = 0; c < count; ++c) matrix(r, first + c) = columns(c, r);
    }
  });
}

}  // namespace qualm
