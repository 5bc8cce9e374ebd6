#include "tensor/gram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "support/test_context.h"
#include "tensor/isa.h"
#include "tensor/reference/linear_reference.h"

namespace qualm {
namespace {

Matrix Random(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix m(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.Normal());
  return m;
}

class GramTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { ASSERT_TRUE(SetInstructionSet(GetParam())); }
  void TearDown() override { SetInstructionSet(AvailableInstructionSets().back()); }
};

INSTANTIATE_TEST_SUITE_P(Isa, GramTest, ::testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& of) { return std::string(of.param); });

TEST_P(GramTest, MatchesTwoTokensComputedByHand) {
  testing::TestContext context(1);
  const float x[] = {1, 2, 3, -4};
  Matrix gram(2, 2);
  gram(0, 0) = 100;
  AccumulateGram({x, 2, 2}, gram, context);
  EXPECT_EQ(gram(0, 0), 110.0f);  // 100 + 1·1 + 3·3
  EXPECT_EQ(gram(0, 1), -10.0f);  // 1·2 - 3·4
  EXPECT_EQ(gram(1, 0), -10.0f);
  EXPECT_EQ(gram(1, 1), 20.0f);
}

TEST_P(GramTest, NoTokensAddNothing) {
  testing::TestContext context(2);
  Matrix gram(3, 3);
  gram(1, 1) = 4;
  AccumulateGram(Matrix(0, 3), gram, context);
  EXPECT_EQ(gram(1, 1), 4.0f);
  EXPECT_EQ(gram(0, 1), 0.0f);
  Matrix empty(0, 0);
  AccumulateGram(Matrix(5, 0), empty, context);
}

TEST_P(GramTest, EqualsTheDefinitionBitForBitForAnyThreads) {
  for (size_t in : std::initializer_list<size_t>{1, 5, 16, 17, 95, 96, 97, 130, 200}) {
    for (size_t tokens : std::initializer_list<size_t>{1, 2, 255, 256, 257, 600}) {
      if (in * tokens > 60000) continue;
      const Matrix x = Random(tokens, in, in + tokens);
      Matrix expected(in, in);
      reference::AccumulateGram(x, expected);
      reference::AccumulateGram(x, expected);
      for (int threads : {1, 2, 3}) {
        testing::TestContext context(threads);
        Matrix gram(in, in);
        AccumulateGram(x, gram, context);
        AccumulateGram(x, gram, context);
        ASSERT_EQ(std::memcmp(gram.data(), expected.data(), in * in * sizeof(float)), 0)
            << in << " " << tokens << " " << threads;
      }
    }
  }
}

TEST_P(GramTest, CutsBetweenBlocksDoNotShow) {
  testing::TestContext context(2);
  const Matrix x = Random(1500, 40, 5);
  Matrix whole(40, 40), parts(40, 40);
  AccumulateGram(x, whole, context);
  AccumulateGram(x.view().Rows(0, 256), parts, context);
  AccumulateGram(x.view().Rows(256, 1024), parts, context);
  AccumulateGram(x.view().Rows(1280, 220), parts, context);
  EXPECT_EQ(std::memcmp(whole.data(), parts.data(), 1600 * sizeof(float)), 0);
}

TEST_P(GramTest, IsSymmetricAndWithinTheDerivedBoundOfDouble) {
  testing::TestContext context(2);
  constexpr size_t kIn = 70, kTokens = 700;
  const Matrix x = Random(kTokens, kIn, 6);
  Matrix gram(kIn, kIn), transposed(kIn, kTokens);
  AccumulateGram(x, gram, context);
  for (size_t t = 0; t < kTokens; ++t) {
    for (size_t i = 0; i < kIn; ++i) transposed(i, t) = x(t, i);
  }
  std::vector<double> exact(kIn * kIn), size(kIn * kIn);
  reference::AccumulateGramInDouble(x, {exact.data(), kIn, kIn});
  reference::MagnitudeOfTerms(transposed, transposed, {size.data(), kIn, kIn});
  const double bound = reference::FloatSumBound(kTokens, kGramBlock);
  for (size_t i = 0; i < kIn; ++i) {
    for (size_t j = 0; j < kIn; ++j) {
      EXPECT_EQ(gram(i, j), gram(j, i));
      EXPECT_LE(std::abs(double{gram(i, j)} - exact[i * kIn + j]), bound * size[i * kIn + j]);
    }
  }
}

TEST_P(GramTest, DoubleAccumulationIsNearlyExact) {
  testing::TestContext context(2);
  constexpr size_t kIn = 45, kTokens = 1300;
  const Matrix x = Random(kTokens, kIn, 7);
  std::vector<double> exact(kIn * kIn), gram(kIn * kIn);
  reference::AccumulateGramInDouble(x, {exact.data(), kIn, kIn});
  AccumulateGram64(x, {gram.data(), kIn, kIn}, context);
  // Both sums have at most kTokens roundings of 2^-53 of sqrt(g_ii·g_jj), a bound of the
  // magnitudes.
  for (size_t i = 0; i < kIn; ++i) {
    for (size_t j = 0; j < kIn; ++j) {
      const double size = std::sqrt(exact[i * kIn + i] * exact[j * kIn + j]);
      EXPECT_LE(std::abs(gram[i * kIn + j] - exact[i * kIn + j]), 2 * kTokens * 0x1.0p-53 * size);
      EXPECT_EQ(gram[i * kIn + j], gram[j * kIn + i]);
    }
  }
}

}  // namespace
}  // namespace qualm
