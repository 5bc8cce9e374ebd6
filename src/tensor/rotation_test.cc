#include "tensor/rotation.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/rng.h"
#include "support/test_context.h"

namespace qualm {
namespace {

// Q as a dense matrix: its columns are the images of the unit vectors.
Matrix Dense(const Rotation& rotation, bool transposed) {
  const size_t n = rotation.size();
  Matrix q(n, n);
  std::vector<float> x(n);
  for (size_t c = 0; c < n; ++c) {
    std::ranges::fill(x, 0.0f);
    x[c] = 1;
    if (transposed) {
      rotation.ApplyTransposed(x);
    } else {
      rotation.Apply(x);
    }
    for (size_t r = 0; r < n; ++r) q(r, c) = x[r];
  }
  return q;
}

// Largest deviation of Q·Qᵀ from the identity, in double.
double Deviation(const Matrix& q) {
  double worst = 0;
  for (size_t i = 0; i < q.rows(); ++i) {
    for (size_t j = 0; j < q.rows(); ++j) {
      double dot = i == j ? -1 : 0;
      for (size_t c = 0; c < q.cols(); ++c) dot += double{q(i, c)} * q(j, c);
      worst = std::max(worst, std::abs(dot));
    }
  }
  return worst;
}

void ExpectTransposes(const Rotation& rotation) {
  const Matrix q = Dense(rotation, false), t = Dense(rotation, true);
  for (size_t i = 0; i < q.rows(); ++i) {
    for (size_t j = 0; j < q.rows(); ++j) ASSERT_EQ(q(i, j), t(j, i)) << i << " " << j;
  }
}

TEST(Hadamard, ExistsForTheSizesOfModels) {
  for (size_t n : std::initializer_list<size_t>{1, 2, 4, 12, 20, 24, 28, 36, 44, 60, 64, 288, 384,
                                                640, 1536, 4096, 14336}) {
    EXPECT_TRUE(HasHadamard(n)) << n;
  }
  for (size_t n : std::initializer_list<size_t>{0, 3, 6, 10, 18, 100, 172, 11008}) {
    EXPECT_FALSE(HasHadamard(n)) << n;
  }
  EXPECT_EQ(LargestHadamardBlock(172), 4u);
  EXPECT_EQ(LargestHadamardBlock(11008), 256u);
  EXPECT_EQ(LargestHadamardBlock(4096), 4096u);
  EXPECT_EQ(LargestHadamardBlock(7), 1u);
}

// All entries are ±1/√n, rows are orthogonal, and the transpose is the inverse.
TEST(Hadamard, IsOrthogonalAndFlat) {
  for (size_t n : std::initializer_list<size_t>{1, 2, 12, 20, 24, 28, 36, 44, 64, 80, 288}) {
    const auto rotation = MakeHadamard(n, n, 5);
    const Matrix q = Dense(*rotation, false);
    // Entries are one rounded number: every dot product is exact up to its square's rounding.
    EXPECT_LT(Deviation(q), 4 * 0x1p-24) << n;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        ASSERT_EQ(std::abs(q(i, j)), static_cast<float>(1 / std::sqrt(double(n)))) << n;
      }
    }
    ExpectTransposes(*rotation);
  }
}

TEST(Hadamard, BlocksDoNotMix) {
  const auto rotation = MakeHadamard(24, 8, 3);
  const Matrix q = Dense(*rotation, false);
  for (size_t i = 0; i < 24; ++i) {
    for (size_t j = 0; j < 24; ++j) EXPECT_EQ(q(i, j) != 0, i / 8 == j / 8);
  }
}

// Known numbers: a machine that drew other signs would undo other rotations than were made.
TEST(Hadamard, SignsComeFromTheSeedAlone) {
  const auto signs = [](uint64_t seed) {
    const Matrix q = Dense(*MakeHadamard(16, 1, seed), false);
    std::string text;
    for (size_t i = 0; i < 16; ++i) text += q(i, i) > 0 ? '+' : '-';
    return text;
  };
  EXPECT_EQ(signs(0), signs(0));
  EXPECT_NE(signs(0), signs(1));
}

TEST(Kronecker, IsOrthogonal) {
  for (size_t n : std::initializer_list<size_t>{1, 6, 7, 64, 172}) {
    const auto [p, q] = KroneckerSizes(n);
    EXPECT_EQ(p * q, n);
    EXPECT_LE(p, q);
    const auto rotation = MakeKronecker(p, q, DrawKroneckerFactors(p, q, 9), 9);
    // Factors and sums in float: p + q roundings of numbers of at most 1.
    EXPECT_LT(Deviation(Dense(*rotation, false)), double(p + q + 2) * 0x1p-23) << n;
  }
}

TEST(Kronecker, TheTransposeIsTheInverse) {
  const auto rotation = MakeKronecker(5, 8, DrawKroneckerFactors(5, 8, 2), 2);
  Rng rng(1);
  std::vector<float> x(40);
  for (float& v : x) v = static_cast<float>(rng.Normal());
  std::vector<float> there = x;
  rotation->Apply(there);
  EXPECT_NE(there, x);
  rotation->ApplyTransposed(there);
  for (size_t i = 0; i < 40; ++i) EXPECT_NEAR(there[i], x[i], 1e-5);
}

// (A ⊗ B)·P written out, in double.
TEST(Kronecker, IsTheProductOfItsFactors) {
  const std::vector<float> factors = DrawKroneckerFactors(3, 4, 7);
  const auto rotation = MakeKronecker(3, 4, factors, 7);
  const Matrix q = Dense(*rotation, false);
  // Each column of Q is one column of A ⊗ B: the permutation.
  std::vector<bool> is_used(12, false);
  for (size_t c = 0; c < 12; ++c) {
    size_t matches = 0;
    for (size_t k = 0; k < 12; ++k) {
      double worst = 0;
      for (size_t r = 0; r < 12; ++r) {
        const double expected = double{factors[r / 4 * 3 + k / 4]} * factors[9 + r % 4 * 4 + k % 4];
        worst = std::max(worst, std::abs(expected - q(r, c)));
      }
      if (worst > 0x1p-22) continue;
      ++matches;
      EXPECT_FALSE(is_used[k]);
      is_used[k] = true;
    }
    EXPECT_EQ(matches, 1u);
  }
}

TEST(RotateMatrix, RowsAndColumns) {
  testing::TestContext context(2);
  const auto rotation = MakeHadamard(20, 20, 4);
  const Matrix q = Dense(*rotation, false);
  Matrix m(20, 20);
  Rng rng(8);
  for (size_t r = 0; r < 20; ++r) {
    for (float& v : m.row(r)) v = static_cast<float>(rng.Normal());
  }
  Matrix rows = Matrix::CopyOf(m), columns = Matrix::CopyOf(m);
  RotateRows(*rotation, false, rows, context);
  RotateColumns(*rotation, false, columns, context);
  for (size_t i = 0; i < 20; ++i) {
    for (size_t j = 0; j < 20; ++j) {
      double row = 0, column = 0;
      for (size_t k = 0; k < 20; ++k) {
        row += double{q(j, k)} * m(i, k);
        column += double{q(i, k)} * m(k, j);
      }
      EXPECT_NEAR(rows(i, j), row, 1e-6);
      EXPECT_NEAR(columns(i, j), column, 1e-6);
    }
  }
  RotateRows(*rotation, true, rows, context);
  for (size_t i = 0; i < 20; ++i) {
    for (size_t j = 0; j < 20; ++j) EXPECT_NEAR(rows(i, j), m(i, j), 2e-6);
  }
}

}  // namespace
}  // namespace qualm
