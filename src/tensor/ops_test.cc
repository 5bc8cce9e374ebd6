#include "tensor/ops.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "support/random_matrix.h"
#include "tensor/reference/ops_reference.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pointwise;

std::vector<float> NormOf(std::vector<float> x, const NormParameters& parameters,
                          std::vector<float> weight, std::vector<float> bias) {
  ThreadPool pool(1);
  const Span2D<float> row(x.data(), 1, x.size());
  Norm(row, parameters, weight, bias, row, pool);
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
  ThreadPool pool(2);
  for (double mean : {0.0, 1000.0}) {
    const Matrix x = testing::RandomMatrix(3, 157, 1, mean);
    const Matrix weight = testing::RandomMatrix(1, 157, 2), bias = testing::RandomMatrix(1, 157, 3);
    for (NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
      for (float offset : {0.0f, 1.0f}) {
        const NormParameters parameters{.kind = kind, .eps = 1e-5, .weight_offset = offset};
        Matrix got(3, 157);
        Norm(x, parameters, weight.row(0), bias.row(0), got, pool);
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

// What Attention promises, in double and without blocks.
Matrix NaiveAttention(const Matrix& q, const Matrix& k, const Matrix& v, size_t heads,
                      size_t kv_heads, size_t first, size_t window) {
  size_t dim = q.cols() / heads;
  Matrix out(q.rows(), q.cols());
  for (size_t t = 0; t < q.rows(); ++t) {
    size_t position = first + t,
           from = window > 0 && position + 1 > window ? position + 1 - window : 0;
    for (size_t h = 0; h < heads; ++h) {
      size_t kv = h / (heads / kv_heads) * dim;
      std::vector<double> weight;
      double largest = -1e300, sum = 0;
      for (size_t s = from; s <= position; ++s) {
        double dot = 0;
        for (size_t d = 0; d < dim; ++d) dot += double{q(t, h * dim + d)} * k(s, kv + d);
        weight.push_back(dot / std::sqrt(static_cast<double>(dim)));
        largest = std::max(largest, weight.back());
      }
      for (double& w : weight) sum += w = std::exp(w - largest);
      for (size_t d = 0; d < dim; ++d) {
        double value = 0;
        for (size_t s = from; s <= position; ++s) value += weight[s - from] / sum * v(s, kv + d);
        out(t, h * dim + d) = static_cast<float>(value);
      }
    }
  }
  return out;
}

struct Shape {
  size_t heads, kv_heads, dim, length, first, window;
};

Matrix RunAttention(const Shape& shape, const Matrix& q, const Matrix& k, const Matrix& v,
                    int threads) {
  ThreadPool pool(threads);
  AttentionCache cache(shape.kv_heads, shape.dim, shape.length);
  for (size_t s = 0; s < shape.length; ++s) cache.Store(s, k.row(s), v.row(s));
  Matrix out(q.rows(), q.cols());
  std::vector<AttentionJob> jobs = {{&cache, shape.first, q.view(), out.view()}};
  Attention(jobs, shape.heads, shape.window, pool);
  return out;
}

class AttentionTest : public ::testing::TestWithParam<Shape> {};

TEST_P(AttentionTest, AgreesWithTheNaiveSumInDouble) {
  const Shape& s = GetParam();
  Matrix q = testing::RandomMatrix(s.length - s.first, s.heads * s.dim, 1);
  Matrix k = testing::RandomMatrix(s.length, s.kv_heads * s.dim, 2),
         v = testing::RandomMatrix(s.length, s.kv_heads * s.dim, 3);
  Matrix expected = NaiveAttention(q, k, v, s.heads, s.kv_heads, s.first, s.window);
  Matrix got = RunAttention(s, q, k, v, 2);
  // Scores are sums of `dim` products of size about 1, their error in float about
  // dim·2^-24·|score|, at most a few 1e-6 in the exponent; the weights sum to 1 and |v| stays
  // below 5.
  double bound = 5 * (static_cast<double>(s.dim) + 64) * 0x1.0p-24 * 4;
  for (size_t t = 0; t < q.rows(); ++t) {
    for (size_t c = 0; c < q.cols(); ++c) ASSERT_NEAR(got(t, c), expected(t, c), bound);
  }
}

TEST_P(AttentionTest, AQueryAloneHasTheBitsItHasInABatch) {
  const Shape& s = GetParam();
  Matrix q = testing::RandomMatrix(s.length - s.first, s.heads * s.dim, 4);
  Matrix k = testing::RandomMatrix(s.length, s.kv_heads * s.dim, 5),
         v = testing::RandomMatrix(s.length, s.kv_heads * s.dim, 6);
  Matrix together = RunAttention(s, q, k, v, 3);
  for (size_t t = 0; t < q.rows(); t += 7) {
    Shape alone = s;
    alone.first = s.first + t;
    Matrix row = RunAttention(alone, Matrix::CopyOf(q.view().Rows(t, 1)), k, v, 1);
    for (size_t c = 0; c < q.cols(); ++c) {
      ASSERT_EQ(std::bit_cast<uint32_t>(row(0, c)), std::bit_cast<uint32_t>(together(t, c)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         ::testing::Values(Shape{1, 1, 2, 1, 0, 0}, Shape{4, 2, 16, 63, 0, 0},
                                           Shape{4, 4, 8, 65, 0, 0}, Shape{2, 1, 10, 130, 100, 0},
                                           Shape{3, 1, 64, 200, 0, 8}, Shape{2, 2, 32, 200, 64, 64},
                                           Shape{2, 2, 32, 150, 3, 65}));

TEST(RowsTest, ScaledSumsAndProductsByHand) {
  ThreadPool pool(2);
  Matrix x(2, 2), from(2, 2);
  x(0, 0) = 1, x(0, 1) = 2, x(1, 0) = 3, x(1, 1) = -4;
  from(0, 0) = 8, from(1, 1) = 2;
  AddScaled(x, from, 0.5f, pool);
  EXPECT_THAT(x.row(0), ElementsAre(5, 2));
  EXPECT_THAT(x.row(1), ElementsAre(3, -3));
  ScaleRows(x, -2, pool);
  EXPECT_THAT(x.row(0), ElementsAre(-10, -4));
  EXPECT_THAT(x.row(1), ElementsAre(-6, 6));
}

TEST(RowsTest, AScaledSumRoundsTheProductFirst) {
  ThreadPool pool(1);
  // 3·float(1/3) is 1 + 2^-25, which rounds to 1 and leaves nothing of a sum with -1.
  Matrix x(1, 1), from(1, 1);
  x(0, 0) = -1, from(0, 0) = 1.0f / 3;
  AddScaled(x, from, 3, pool);
  EXPECT_EQ(x(0, 0), 0);
}

TEST(RowsTest, SoftCapAndActivationsReachEveryElement) {
  ThreadPool pool(2);
  Matrix x(40, 3);
  for (size_t t = 0; t < 40; ++t) std::ranges::fill(x.row(t), 1e9f);
  SoftCap(x, 30, pool);
  for (size_t t = 0; t < 40; ++t) EXPECT_THAT(x.row(t), ElementsAre(30, 30, 30));
  GatedActivation(Activation::kRelu2, x, x.view(), pool);
  for (size_t t = 0; t < 40; ++t) EXPECT_THAT(x.row(t), ElementsAre(27000, 27000, 27000));
}

// The operations that work on each row alone, with fixed other arguments.
struct RowOperation {
  std::string name;
  std::function<void(Span2D<float> x, ThreadPool& pool)> apply;
};

std::vector<RowOperation> RowOperations() {
  static const Matrix weight = testing::RandomMatrix(1, 37, 5),
                      bias = testing::RandomMatrix(1, 37, 6);
  return {
      {"rms norm", [](auto x, auto& pool) { Norm(x, {}, weight.row(0), {}, x, pool); }},
      {"layer norm",
       [](auto x, auto& pool) {
         Norm(x, {.kind = NormKind::kLayer, .weight_offset = 1}, weight.row(0), bias.row(0), x,
              pool);
       }},
      {"activation", [](auto x, auto& pool) { Activate(Activation::kGeluErf, x, pool); }},
      {"gated activation",
       [](auto x, auto& pool) {
         GatedActivation(Activation::kGeluTanh, x, Matrix::CopyOf(x), pool);
       }},
      {"sum", [](auto x, auto& pool) { AddRows(x, Matrix::CopyOf(x), pool); }},
      {"scaled sum", [](auto x, auto& pool) { AddScaled(x, Matrix::CopyOf(x), 0.3f, pool); }},
      {"scale", [](auto x, auto& pool) { ScaleRows(x, 0.3f, pool); }},
      {"soft cap", [](auto x, auto& pool) { SoftCap(x, 2, pool); }},
  };
}

TEST(RowsTest, ARowAloneHasTheBitsItHasInABatchForAnyThreads) {
  const Matrix rows = testing::RandomMatrix(50, 37, 7);
  for (const RowOperation& operation : RowOperations()) {
    ThreadPool one(1), three(3);
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
  ThreadPool pool(2);
  Matrix none(0, 37);
  for (const RowOperation& operation : RowOperations()) operation.apply(none, pool);
}

TEST(LogSumExpTest, DoesNotOverflow) {
  std::vector<float> logits = {1000, 1000};
  EXPECT_DOUBLE_EQ(LogSumExp(logits), 1000 + std::log(2.0));
}

TEST(AttentionTest, NaNInAQueryOrAKeyIsNotHidden) {
  const Shape shape = {1, 1, 4, 5, 0, 0};
  const Matrix q = testing::RandomMatrix(5, 4, 1), k = testing::RandomMatrix(5, 4, 2),
               v = testing::RandomMatrix(5, 4, 3);
  Matrix bad_q = Matrix::CopyOf(q), bad_k = Matrix::CopyOf(k);
  bad_q(4, 2) = NAN;
  bad_k(1, 0) = NAN;
  const Matrix by_query = RunAttention(shape, bad_q, k, v, 1);
  EXPECT_TRUE(std::isnan(by_query(4, 0)));
  EXPECT_FALSE(std::isnan(by_query(3, 0)));
  const Matrix by_key = RunAttention(shape, q, bad_k, v, 1);
  for (size_t t = 0; t < 5; ++t) EXPECT_EQ(std::isnan(by_key(t, 1)), t >= 1) << t;
}

}  // namespace
}  // namespace qualm
