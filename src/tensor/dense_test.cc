#include "tensor/dense.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "support/test_context.h"
#include "tensor/isa.h"
#include "tensor/linear.h"
#include "tensor/reference/linear_reference.h"

namespace qualm {
namespace {

Matrix Random(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix m(rows, cols);
  for (size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.Normal());
  return m;
}

// w rounded to `type`: the stored bytes, and the floats they stand for.
struct Stored {
  Stored(Span2D<const float> w, DType dtype)
      : type(dtype), bytes(w.rows() * w.cols() * SizeOf(dtype)), values(w.rows(), w.cols()) {
    ConvertFromFloat(w.data(), type, bytes.data(), w.rows() * w.cols());
    ConvertToFloat(type, bytes.data(), values.data(), w.rows() * w.cols());
  }
  WeightView view() const { return {bytes.data(), type, values.rows(), values.cols()}; }

  DType type;
  std::vector<unsigned char> bytes;
  Matrix values;
};

bool SameBits(const Matrix& a, const Matrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), a.rows() * a.cols() * sizeof(float)) == 0;
}

// Runs its body once per instruction set of this machine.
class DenseTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { ASSERT_TRUE(SetInstructionSet(GetParam())); }
  void TearDown() override { SetInstructionSet(AvailableInstructionSets().back()); }

  static Matrix Product(const LinearWeight& weight, Span2D<const float> x, int threads) {
    testing::TestContext context(threads);
    Matrix y(x.rows(), weight.out_features());
    weight.Multiply(x, y, context);
    return y;
  }
};

INSTANTIATE_TEST_SUITE_P(Isa, DenseTest, ::testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& of) { return std::string(of.param); });

TEST_P(DenseTest, MatchesAProductComputedByHand) {
  testing::TestContext context(1);
  const float w[] = {1, 2, 3, -4, 5, 6}, x[] = {10, 1, 0.5f};
  const auto weight = MakeDenseWeight({w, DType::kF32, 2, 3}, context);
  const Matrix y = Product(*weight, {x, 1, 3}, 1);
  EXPECT_EQ(y(0, 0), 13.5f);   // 10 + 2 + 1.5
  EXPECT_EQ(y(0, 1), -32.0f);  // -40 + 5 + 3
}

TEST_P(DenseTest, NamesItsFormatAndBytes) {
  testing::TestContext context(1);
  const Stored w(Random(17, 5, 1), DType::kBF16);
  const auto weight = MakeDenseWeight(w.view(), context);
  EXPECT_EQ(weight->format(), "dense-bf16");
  EXPECT_EQ(weight->out_features(), 17u);
  EXPECT_EQ(weight->in_features(), 5u);
  EXPECT_EQ(weight->weight_bytes(), 2u * 16 * 5 * 2);  // two panels of 16 rows
}

TEST_P(DenseTest, NoTokensNoInputsNoOutputs) {
  testing::TestContext context(2);
  const Matrix w = Random(5, 7, 1);
  const auto weight = MakeDenseWeight({w.data(), DType::kF32, 5, 7}, context);
  EXPECT_EQ(Product(*weight, Matrix(0, 7), 2).rows(), 0u);
  const auto no_outputs = MakeDenseWeight({w.data(), DType::kF32, 0, 7}, context);
  EXPECT_EQ(Product(*no_outputs, Matrix(3, 7), 2).cols(), 0u);
  const auto no_inputs = MakeDenseWeight({w.data(), DType::kF32, 2, 0}, context);
  Matrix y(1, 2);
  y(0, 0) = y(0, 1) = 5;
  no_inputs->Multiply(Matrix(1, 0), y, context);
  EXPECT_EQ(y(0, 0), 0.0f);
  EXPECT_EQ(y(0, 1), 0.0f);
}

TEST_P(DenseTest, EqualsTheDefinitionBitForBitForAllShapes) {
  testing::TestContext context(2);
  for (size_t in : std::initializer_list<size_t>{1, 2, 15, 31, 172, 255, 256, 257, 300, 520}) {
    for (size_t out : std::initializer_list<size_t>{1, 3, 15, 16, 17, 33, 130}) {
      const Matrix w = Random(out, in, in * 1000 + out);
      const auto weight = MakeDenseWeight({w.data(), DType::kF32, out, in}, context);
      for (size_t tokens : std::initializer_list<size_t>{1, 2, 5, 7, 33}) {
        const Matrix x = Random(tokens, in, tokens);
        Matrix expected(tokens, out);
        reference::Multiply(x, w, expected);
        ASSERT_TRUE(SameBits(Product(*weight, x, 2), expected))
            << in << " " << out << " " << tokens;
      }
    }
  }
}

TEST_P(DenseTest, EqualsTheDefinitionForAllTokenCountsAndTypes) {
  testing::TestContext context(2);
  for (DType type : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
    const Stored w(Random(150, 530, 3), type);
    const auto weight = MakeDenseWeight(w.view(), context);
    const Matrix x = Random(530, 530, 4);
    Matrix expected(x.rows(), 150);
    reference::Multiply(x, w.values, expected);
    for (size_t tokens :
         std::initializer_list<size_t>{1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,  12, 13,
                                       14, 15, 16, 17, 18, 19, 20, 32, 33, 97, 300, 513}) {
      const Matrix y = Product(*weight, x.view().Rows(0, tokens), 2);
      ASSERT_TRUE(SameBits(y, Matrix::CopyOf(expected.view().Rows(0, tokens)))) << tokens;
    }
  }
}

TEST_P(DenseTest, OneTokenEqualsTheRowOfABatchForAnyThreads) {
  testing::TestContext context(1);
  const Stored w(Random(200, 700, 5), DType::kBF16);
  const auto weight = MakeDenseWeight(w.view(), context);
  const Matrix x = Random(40, 700, 6), batch = Product(*weight, x, 1);
  for (int threads : {1, 2, 3}) {
    EXPECT_TRUE(SameBits(Product(*weight, x, threads), batch));
    for (size_t row : std::initializer_list<size_t>{0, 17, 39}) {
      const Matrix one = Product(*weight, x.view().Rows(row, 1), threads);
      EXPECT_TRUE(SameBits(one, Matrix::CopyOf(batch.view().Rows(row, 1))));
    }
  }
}

TEST_P(DenseTest, StaysWithinTheDerivedBoundOfTheDoubleProduct) {
  testing::TestContext context(2);
  const Matrix w = Random(48, 1111, 7), x = Random(9, 1111, 8);
  const auto weight = MakeDenseWeight({w.data(), DType::kF32, 48, 1111}, context);
  const Matrix y = Product(*weight, x, 2);
  std::vector<double> exact(9 * 48), size(9 * 48);
  reference::MultiplyInDouble(x, w, {exact.data(), 9, 48});
  reference::MagnitudeOfTerms(x, w, {size.data(), 9, 48});
  const double bound = reference::FloatSumBound(1111, kReductionBlock);
  double largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double error = std::abs(double{y.data()[i]} - exact[i]) / size[i];
    EXPECT_LE(error, bound);
    largest = std::max(largest, error);
  }
  EXPECT_GT(largest, 0x1.0p-24 / 100);  // float sums, not something that is right by construction
}

TEST_P(DenseTest, WritesOnlyItsColumnsOfStridedOutputs) {
  testing::TestContext context(2);
  const Matrix w = Random(21, 40, 9), x_wide = Random(5, 60, 10);
  const Span2D<const float> x = x_wide.view().Cols(11, 40);
  const auto weight = MakeDenseWeight({w.data(), DType::kF32, 21, 40}, context);
  Matrix expected(5, 21), wide(5, 30);
  reference::Multiply(x, w, expected);
  std::fill_n(wide.data(), 150, -7.0f);
  weight->Multiply(x, wide.view().Cols(4, 21), context);
  for (size_t row = 0; row < 5; ++row) {
    for (size_t column = 0; column < 30; ++column) {
      const bool inside = column >= 4 && column < 25;
      EXPECT_EQ(wide(row, column), inside ? expected(row, column - 4) : -7.0f);
    }
  }
}

TEST_P(DenseTest, NotANumberAndInfinityReachTheirOutputsOnly) {
  testing::TestContext context(2);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Matrix w = Random(20, 300, 11), x = Random(8, 300, 12);
  w(3, 299) = std::numeric_limits<float>::quiet_NaN();
  w(4, 0) = kInfinity;
  x(6, 150) = std::numeric_limits<float>::quiet_NaN();
  x(0, 0) = x(7, 0) = 1;
  x(7, 0) = -1;
  const auto weight = MakeDenseWeight({w.data(), DType::kF32, 20, 300}, context);
  const Matrix y = Product(*weight, x, 2);
  for (size_t row = 0; row < 8; ++row) {
    for (size_t column = 0; column < 20; ++column) {
      EXPECT_EQ(std::isnan(y(row, column)), row == 6 || column == 3) << row << " " << column;
    }
  }
  EXPECT_EQ(y(0, 4), kInfinity);
  EXPECT_EQ(y(7, 4), -kInfinity);
}

TEST_P(DenseTest, ConvertsEveryHalfAndBFloat16) {
  testing::TestContext context(1);
  std::vector<uint16_t> bits(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  const float one = 1;
  for (DType type : {DType::kF16, DType::kBF16}) {
    const auto weight = MakeDenseWeight({bits.data(), type, bits.size(), 1}, context);
    const Matrix y = Product(*weight, {&one, 1, 1}, 1);
    for (size_t i = 0; i < bits.size(); ++i) {
      const float expected =
          type == DType::kF16 ? ToFloat(Half{bits[i]}) : ToFloat(BFloat16{bits[i]});
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(y(0, i)));
      } else {
        ASSERT_EQ(y(0, i), expected) << i;  // -0 becomes 0: the chain begins at 0
      }
    }
  }
}

TEST(IsaTest, RefusesUnknownAndAbsentSets) {
  const auto before = InstructionSet();
  EXPECT_FALSE(SetInstructionSet("sse9"));
  EXPECT_FALSE(SetInstructionSet(""));
  EXPECT_EQ(InstructionSet(), before);
  EXPECT_EQ(AvailableInstructionSets().front(), "scalar");
}

}  // namespace
}  // namespace qualm
