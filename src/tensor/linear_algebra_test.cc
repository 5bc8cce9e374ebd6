#include "tensor/linear_algebra.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "support/test_context.h"
#include "tensor/tile_update.h"

namespace qualm {
namespace {

template <typename T>
struct Square {
  explicit Square(size_t size) : n(size), values(size * size) {}
  T& operator()(size_t r, size_t c) { return values[r * n + c]; }
  T operator()(size_t r, size_t c) const { return values[r * n + c]; }
  Span2D<T> view() { return {values.data(), n, n}; }
  size_t n;
  std::vector<T> values;
};

// AᵀA/m + 0.01·I of a random A with columns of very different sizes.
Square<double> PositiveDefinite(size_t n, uint64_t seed) {
  Rng rng(seed);
  const size_t m = n + 3;
  std::vector<double> a(m * n);
  for (size_t r = 0; r < m; ++r) {
    for (size_t c = 0; c < n; ++c) a[r * n + c] = rng.Normal() * (1.0 + 5.0 * (c % 7 == 3));
  }
  Square<double> h(n);
  for (size_t r = 0; r < m; ++r) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) h(i, j) += a[r * n + i] * a[r * n + j] / double(m);
    }
  }
  for (size_t i = 0; i < n; ++i) h(i, i) += 0.01;
  return h;
}

// H⁻¹ by Gauss-Jordan elimination with pivoting, then its upper Cholesky factor by the textbook.
Square<double> NaiveUpperFactor(Square<double> h) {
  const size_t n = h.n;
  Square<double> inverse(n);
  for (size_t i = 0; i < n; ++i) inverse(i, i) = 1;
  for (size_t k = 0; k < n; ++k) {
    size_t best = k;
    for (size_t i = k; i < n; ++i) best = std::abs(h(i, k)) > std::abs(h(best, k)) ? i : best;
    for (size_t j = 0; j < n; ++j) {
      std::swap(h(k, j), h(best, j));
      std::swap(inverse(k, j), inverse(best, j));
    }
    const double pivot = h(k, k);
    for (size_t j = 0; j < n; ++j) {
      h(k, j) /= pivot;
      inverse(k, j) /= pivot;
    }
    for (size_t i = 0; i < n; ++i) {
      const double factor = i == k ? 0 : h(i, k);
      for (size_t j = 0; j < n; ++j) {
        h(i, j) -= factor * h(k, j);
        inverse(i, j) -= factor * inverse(k, j);
      }
    }
  }
  Square<double> u(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i; j < n; ++j) {
      double sum = inverse(i, j);
      for (size_t k = 0; k < i; ++k) sum -= u(k, i) * u(k, j);
      u(i, j) = i == j ? std::sqrt(sum) : sum / u(i, i);
    }
  }
  return u;
}

template <typename T>
Square<T> As(const Square<double>& from) {
  Square<T> to(from.n);
  for (size_t i = 0; i < to.values.size(); ++i) to.values[i] = static_cast<T>(from.values[i]);
  return to;
}

// Largest difference of elements over the largest element.
template <typename T>
double Difference(const Square<T>& a, const Square<double>& b) {
  double difference = 0, largest = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    difference = std::max(difference, std::abs(double(a.values[i]) - b.values[i]));
    largest = std::max(largest, std::abs(b.values[i]));
  }
  return difference / largest;
}

TEST(InvertToUpperFactor, TwoByTwoByHand) {
  // H⁻¹ = [[2, 1], [1, 1]] = UᵀU with U = [[√2, 1/√2], [0, 1/√2]]; H = [[1, -1], [-1, 2]].
  testing::TestContext context(1);
  Square<double> h(2);
  h.values = {1, -1, -1, 2};
  ASSERT_TRUE(InvertToUpperFactor(h.view(), context));
  EXPECT_NEAR(h(0, 0), std::sqrt(2.0), 1e-15);
  EXPECT_NEAR(h(0, 1), std::sqrt(0.5), 1e-15);
  EXPECT_EQ(h(1, 0), 0);
  EXPECT_NEAR(h(1, 1), std::sqrt(0.5), 1e-15);
}

TEST(InvertToUpperFactor, OneByOneAndDiagonal) {
  testing::TestContext context(1);
  Square<float> one(1);
  one.values = {4};
  ASSERT_TRUE(InvertToUpperFactor(one.view(), context));
  EXPECT_EQ(one(0, 0), 0.5f);
  Square<float> diagonal(200);
  for (size_t i = 0; i < 200; ++i) diagonal(i, i) = float((i + 1) * (i + 1));
  ASSERT_TRUE(InvertToUpperFactor(diagonal.view(), context));
  for (size_t i = 0; i < 200; ++i) {
    for (size_t j = 0; j < 200; ++j) {
      EXPECT_FLOAT_EQ(diagonal(i, j), i == j ? 1.0f / float(i + 1) : 0.0f);
    }
  }
}

TEST(InvertToUpperFactor, EqualsTheFactorOfTheExplicitInverse) {
  testing::TestContext context(2);
  // Around the sizes of panels (8, 16), strips (6), blocks (128) and tasks (192 rows).
  const std::vector<size_t> sizes = {2, 5, 6, 7, 15, 16, 17, 33, 127, 128, 129, 200, 257, 330};
  for (size_t n : sizes) {
    const Square<double> h = PositiveDefinite(n, n);
    const Square<double> expected = NaiveUpperFactor(h);
    Square<double> in_double = h;
    ASSERT_TRUE(InvertToUpperFactor(in_double.view(), context));
    // The condition number is below 1e5, the unit roundoff 1.1e-16 (double) or 6e-8 (float).
    EXPECT_LT(Difference(in_double, expected), 1e-11) << n;
    Square<float> in_float = As<float>(h);
    ASSERT_TRUE(InvertToUpperFactor(in_float.view(), context));
    EXPECT_LT(Difference(in_float, expected), 5e-3) << n;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < i; ++j) EXPECT_EQ(in_float(i, j), 0);
    }
  }
}

TEST(InvertToUpperFactor, ReadsOnlyTheLowerTriangle) {
  testing::TestContext context(1);
  Square<double> h = PositiveDefinite(150, 1), half = h;
  for (size_t i = 0; i < h.n; ++i) {
    for (size_t j = i + 1; j < h.n; ++j) half(i, j) = std::nan("");
  }
  ASSERT_TRUE(InvertToUpperFactor(h.view(), context));
  ASSERT_TRUE(InvertToUpperFactor(half.view(), context));
  EXPECT_EQ(h.values, half.values);
}

TEST(InvertToUpperFactor, TheSameBitsForAnyNumberOfThreads) {
  const Square<float> h = As<float>(PositiveDefinite(391, 2));
  Square<float> first = h;
  testing::TestContext one(1);
  ASSERT_TRUE(InvertToUpperFactor(first.view(), one));
  for (int threads : {2, 3, 7}) {
    testing::TestContext context(threads);
    Square<float> again = h;
    ASSERT_TRUE(InvertToUpperFactor(again.view(), context));
    EXPECT_EQ(std::memcmp(first.values.data(), again.values.data(), first.values.size() * 4), 0);
  }
}

TEST(InvertToUpperFactor, RefusesWhatIsNotPositiveDefinite) {
  testing::TestContext context(1);
  for (size_t bad : std::vector<size_t>{0, 5, 130, 199}) {
    for (double value : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
      Square<double> h(200);
      for (size_t i = 0; i < h.n; ++i) h(i, i) = 1;
      h(bad, bad) = value;
      EXPECT_FALSE(InvertToUpperFactor(h.view(), context)) << bad << " " << value;
    }
  }
  // Positive diagonal, but a 2 x 2 minor below 0.
  Square<float> h(2);
  h.values = {1, 2, 2, 1};
  EXPECT_FALSE(InvertToUpperFactor(h.view(), context));
}

template <typename T>
void ExpectChains(size_t panels, size_t depth) {
  Rng rng(11);
  constexpr size_t kWidth = kLanesOf<T>;
  std::vector<T> strip(depth * kStripColumns), b(panels * depth * kWidth),
      c(kStripColumns * panels * kWidth);
  for (std::vector<T>* list : {&strip, &b, &c}) {
    for (T& value : *list) value = static_cast<T>(rng.Normal());
  }
  std::vector<T> expected = c;
  for (size_t row = 0; row < kStripColumns; ++row) {
    for (size_t p = 0; p < panels; ++p) {
      for (size_t l = 0; l < kWidth; ++l) {
        T& sum = expected[(row * panels + p) * kWidth + l];
        for (size_t k = 0; k < depth; ++k) {
          sum = std::fma(-strip[k * kStripColumns + row], b[(p * depth + k) * kWidth + l], sum);
        }
      }
    }
  }
  SubtractProduct(strip.data(), b.data(), depth * kWidth, panels, depth, c.data(),
                  {panels * kWidth, kWidth});
  EXPECT_EQ(c, expected) << panels << " panels, depth " << depth;
}

TEST(SubtractProduct, IsOneChainOfFusedMultiplyAdds) {
  for (size_t panels : std::vector<size_t>{1, 2, 3, 4, 5, 8, 9}) {
    for (size_t depth : std::vector<size_t>{0, 1, 7, 128}) {
      ExpectChains<float>(panels, depth);
      ExpectChains<double>(panels, depth);
    }
  }
}

TEST(SubtractOuter, IsOneFusedMultiplyAddPerElement) {
  Rng rng(12);
  std::vector<float> factors(9), values(16), rows(9 * 16);
  for (std::vector<float>* list : {&factors, &values, &rows}) {
    for (float& value : *list) value = static_cast<float>(rng.Normal());
  }
  std::vector<float> expected = rows;
  for (size_t i = 0; i < 9; ++i) {
    for (size_t l = 0; l < 16; ++l) {
      expected[i * 16 + l] = std::fma(-factors[i], values[l], expected[i * 16 + l]);
    }
  }
  SubtractOuter(factors.data(), 9, values.data(), rows.data());
  EXPECT_EQ(rows, expected);
}

}  // namespace
}  // namespace qualm
