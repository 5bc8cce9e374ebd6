#include "tensor/ops.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "support/random_matrix.h"
#include "support/test_context.h"
#include "tensor/reference/ops_reference.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pointwise;

std::vector<float> NormOf(std::vector<float> x, const NormParameters& parameters,
                          std::vector<float> weight, std::vector<float> bias) {
  testing::TestContext context(1);
  const Span2D<float> row(x.data(), 1, x.size());
  Norm(row, parameters, weight, bias, row, context);
  return x;
}

TEST(NormTest, RmsByHand) {
  // Mean of squares 12.5; with eps 0.5 the root is sqrt(13).
  const float root = std::sqrt(13.0f);
  EXPECT_THAT(NormOf({3, 4}, {.eps = 0.5}, {1, 2}, {}),
              Pointwise(FloatNear(1e-6f), {3 / root, 8 / root}));
}

TEST(NormTest, LayerByHand) {
  // Mean 3, variance 4; with eps 5 the root is 3.
  const NormParameters parameters{.kind = NormKind::kLayer, .eps = 5};
  EXPECT_THAT(NormOf({1, 5}, parameters, {3, 6}, {10, 20}), ElementsAre(10 - 2, 20 + 4));
}

TEST(NormTest, WeightOffsetAddsToTheWeightAlone) {
  const NormParameters parameters{.kind = NormKind::kLayer, .eps = 5, .weight_offset = 1};
  EXPECT_THAT(NormOf({-2, 2}, parameters, {5, -4}, {}), ElementsAre(-4, -2));
}

TEST(NormTest, WithoutWeightAndBiasTheNormalizedValuesRemain) {
  EXPECT_THAT(NormOf({-2, 2}, {.kind = NormKind::kLayer, .eps = 0}, {}, {}), ElementsAre(-1, 1));
  EXPECT_THAT(NormOf({-2, 2}, {.eps = 0}, {}, {}), ElementsAre(-1, 1));
}

TEST(NormTest, AConstantRowBecomesTheBias) {
  EXPECT_THAT(NormOf({7, 7, 7}, {.kind = NormKind::kLayer}, {1, 2, 3}, {4, 5, 6}),
              ElementsAre(4, 5, 6));
  EXPECT_THAT(NormOf({0, 0}, {}, {1, 2}, {}), ElementsAre(0, 0));
}

TEST(NormTest, AWeightOfMinusZeroKeepsItsSign) {
  const std::vector<float> out = NormOf({1, 1}, {}, {-0.0f, 0.0f}, {});
  EXPECT_TRUE(std::signbit(out[0]));
  EXPECT_FALSE(std::signbit(out[1]));
}

TEST(NormTest, LargeValuesDoNotOverflow) {
  EXPECT_THAT(NormOf({3e38f, -3e38f}, {}, {1, 2}, {}), Pointwise(FloatNear(1e-6f), {1.0f, -2.0f}));
  EXPECT_THAT(NormOf({3e38f, -3e38f}, {.kind = NormKind::kLayer}, {1, 2}, {}),
              Pointwise(FloatNear(1e-6f), {1.0f, -2.0f}));
}

TEST(NormTest, AnInfinityOrNaNMakesItsRowNaN) {
  for (float bad : {INFINITY, NAN}) {
    EXPECT_TRUE(std::isnan(NormOf({1, bad}, {}, {1, 1}, {})[1]));
    for (float v : NormOf({1, bad}, {.kind = NormKind::kLayer}, {1, 1}, {})) {
      EXPECT_TRUE(std::isnan(v));
    }
  }
}

TEST(NormTest, AgreesWithTheDefinitionInDouble) {
  testing::TestContext context(2);
  for (double mean : {0.0, 1000.0}) {
    const Matrix x = testing::RandomMatrix(3, 157, 1, mean);
    const Matrix weight = testing::RandomMatrix(1, 157, 2), bias = testing::RandomMatrix(1, 157, 3);
    for (NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
      for (float offset : {0.0f, 1.0f}) {
        const NormParameters parameters{.kind = kind, .eps = 1e-5, .weight_offset = offset};
        Matrix got(3, 157);
        Norm(x, parameters, weight.row(0), bias.row(0), got, context);
        for (size_t t = 0; t < 3; ++t) {
          const std::vector<double> expected =
              reference::Norm(x.row(t), parameters, weight.row(0), bias.row(0));
          for (size_t i = 0; i < 157; ++i) {
            // Roundings before the bias: the root, the normalized value, offset + weight, the
            // product. One more of the sum. Double precision takes part in no other way: means of
            // 1000 with a deviation of 1 lose 10 of its 53 bits.
            const double product = std::abs(expected[i] - bias(0, i));
            ASSERT_NEAR(got(t, i), expected[i],
                        1.01 * 0x1.0p-24 * (4 * product + std::abs(expected[i])));
          }
        }
      }
    }
  }
}

TEST(RopeTest, TurnsPairsThatAreHalfAHeadApart) {
  std::vector<size_t> positions = {0, 1};
  std::vector<double> frequency = {M_PI / 2, M_PI};
  RopeTable rope(positions, frequency);
  std::vector<float> x = {1, 2, 3, 4};
  ApplyRope(x, 4, rope.cosine.row(0), rope.sine.row(0), RotaryLayout::kHalf);
  EXPECT_THAT(x, ElementsAre(1, 2, 3, 4));
  ApplyRope(x, 4, rope.cosine.row(1), rope.sine.row(1), RotaryLayout::kHalf);
  // A quarter turn of (1, 3) is (-3, 1), half a turn of (2, 4) is (-2, -4). sin(π) is not exactly
  // 0.
  EXPECT_THAT(x, Pointwise(FloatNear(1e-6f), {-3.0f, -2.0f, 1.0f, -4.0f}));
}

// Angles whose cosine and sine are exact.
const std::vector<float> kQuarterAndHalfCosine = {0, -1}, kQuarterAndHalfSine = {1, 0};

TEST(RopeTest, TurnsNeighboursWhenInterleaved) {
  std::vector<float> x = {1, 2, 3, 4};
  ApplyRope(x, 4, kQuarterAndHalfCosine, kQuarterAndHalfSine, RotaryLayout::kInterleaved);
  EXPECT_THAT(x, ElementsAre(-2, 1, -3, -4));
}

TEST(RopeTest, TurnsTheFirstValuesOfEachHeadAndKeepsTheOthers) {
  const std::vector<float> heads = {1, 2, 3, 4, 5, 6, /*second head*/ 10, 20, 30, 40, 50, 60};
  std::vector<float> x = heads;
  ApplyRope(x, 6, kQuarterAndHalfCosine, kQuarterAndHalfSine, RotaryLayout::kHalf);
  EXPECT_THAT(x, ElementsAre(-3, -2, 1, -4, 5, 6, -30, -20, 10, -40, 50, 60));
  x = heads;
  ApplyRope(x, 6, kQuarterAndHalfCosine, kQuarterAndHalfSine, RotaryLayout::kInterleaved);
  EXPECT_THAT(x, ElementsAre(-2, 1, -3, -4, 5, 6, -20, 10, -30, -40, 50, 60));
}

TEST(RopeTest, WithoutAnglesNothingTurns) {
  std::vector<float> x = {1, 2};
  ApplyRope(x, 2, {}, {}, RotaryLayout::kHalf);
  EXPECT_THAT(x, ElementsAre(1, 2));
}

TEST(RopeTest, AgreesWithTheDefinitionInDouble) {
  const std::vector<size_t> positions = {12345};
  const std::vector<double> frequency = {1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001};
  const RopeTable rope(positions, frequency);
  for (RotaryLayout layout : {RotaryLayout::kHalf, RotaryLayout::kInterleaved}) {
    for (size_t head_dim : {18u, 32u}) {
      const Matrix heads = testing::RandomMatrix(1, 3 * head_dim, 4);
      Matrix got = Matrix::CopyOf(heads);
      ApplyRope(got.row(0), head_dim, rope.cosine.row(0), rope.sine.row(0), layout);
      for (size_t i = 0; i < 3 * head_dim; i += head_dim) {
        const std::vector<double> expected = reference::Rotated(
            heads.row(0).subspan(i, head_dim), rope.cosine.row(0), rope.sine.row(0), layout);
        // Two products and their sum, each rounded; all values are below 5.
        for (size_t d = 0; d < head_dim; ++d) {
          ASSERT_NEAR(got(0, i + d), expected[d], 0x1.0p-24 * (5 + 5 + 10));
        }
      }
    }
  }
}

TEST(RowsTest, ScaledSumsAndProductsByHand) {
  testing::TestContext context(2);
  Matrix x(2, 2), from(2, 2);
  x(0, 0) = 1, x(0, 1) = 2, x(1, 0) = 3, x(1, 1) = -4;
  from(0, 0) = 8, from(1, 1) = 2;
  AddScaled(x, from, 0.5f, context);
  EXPECT_THAT(x.row(0), ElementsAre(5, 2));
  EXPECT_THAT(x.row(1), ElementsAre(3, -3));
  ScaleRows(x, -2, context);
  EXPECT_THAT(x.row(0), ElementsAre(-10, -4));
  EXPECT_THAT(x.row(1), ElementsAre(-6, 6));
}

TEST(RowsTest, AScaledSumRoundsTheProductFirst) {
  testing::TestContext context(1);
  // 3·float(1/3) is 1 + 2^-25, which rounds to 1 and leaves nothing of a sum with -1.
  Matrix x(1, 1), from(1, 1);
  x(0, 0) = -1, from(0, 0) = 1.0f / 3;
  AddScaled(x, from, 3, context);
  EXPECT_EQ(x(0, 0), 0);
}

TEST(RowsTest, SoftCapAndActivationsReachEveryElement) {
  testing::TestContext context(2);
  Matrix x(40, 3);
  for (size_t t = 0; t < 40; ++t) std::ranges::fill(x.row(t), 1e9f);
  SoftCap(x, 30, context);
  for (size_t t = 0; t < 40; ++t) EXPECT_THAT(x.row(t), ElementsAre(30, 30, 30));
  GatedActivation(Activation::kRelu2, x, x.view(), context);
  for (size_t t = 0; t < 40; ++t) EXPECT_THAT(x.row(t), ElementsAre(27000, 27000, 27000));
}

// The operations that work on each row alone, with fixed other arguments.
struct RowOperation {
  std::string name;
  std::function<void(Span2D<float> x, const Context& context)> apply;
};

std::vector<RowOperation> RowOperations() {
  static const Matrix weight = testing::RandomMatrix(1, 37, 5),
                      bias = testing::RandomMatrix(1, 37, 6);
  return {
      {"rms norm",
       [](auto x, const Context& context) { Norm(x, {}, weight.row(0), {}, x, context); }},
      {"layer norm",
       [](auto x, const Context& context) {
         Norm(x, {.kind = NormKind::kLayer, .weight_offset = 1}, weight.row(0), bias.row(0), x,
              context);
       }},
      {"activation",
       [](auto x, const Context& context) { Activate(Activation::kGeluErf, x, context); }},
      {"gated activation",
       [](auto x, const Context& context) {
         GatedActivation(Activation::kGeluTanh, x, Matrix::CopyOf(x), context);
       }},
      {"sum", [](auto x, const Context& context) { AddRows(x, Matrix::CopyOf(x), context); }},
      {"scaled sum",
       [](auto x, const Context& context) { AddScaled(x, Matrix::CopyOf(x), 0.3f, context); }},
      {"scale", [](auto x, const Context& context) { ScaleRows(x, 0.3f, context); }},
      {"soft cap", [](auto x, const Context& context) { SoftCap(x, 2, context); }},
  };
}

TEST(RowsTest, ARowAloneHasTheBitsItHasInABatchForAnyThreads) {
  const Matrix rows = testing::RandomMatrix(50, 37, 7);
  for (const RowOperation& operation : RowOperations()) {
    testing::TestContext one(1), three(3);
    Matrix together = Matrix::CopyOf(rows);
    operation.apply(together, three);
    for (size_t t = 0; t < rows.rows(); ++t) {
      Matrix alone = Matrix::CopyOf(rows.view().Rows(t, 1));
      operation.apply(alone, one);
      ASSERT_EQ(std::memcmp(alone.data(), together.row(t).data(), 37 * sizeof(float)), 0)
          << operation.name << " of row " << t;
      ASSERT_NE(std::memcmp(alone.data(), rows.row(t).data(), 37 * sizeof(float)), 0)
          << operation.name;
    }
  }
}

TEST(RowsTest, NoRowsAreNoWork) {
  testing::TestContext context(2);
  Matrix none(0, 37);
  for (const RowOperation& operation : RowOperations()) operation.apply(none, context);
}

TEST(LogSumExpTest, DoesNotOverflow) {
  std::vector<float> logits = {1000, 1000};
  EXPECT_DOUBLE_EQ(LogSumExp(logits), 1000 + std::log(2.0));
}

}  // namespace
}  // namespace qualm
