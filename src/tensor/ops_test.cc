#include "tensor/ops.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "tensor/vector_ops.h"

namespace qualm {
namespace {

Matrix Random(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix m(rows, cols);
  for (size_t r = 0; r < rows; ++r) {
    for (float& v : m.row(r)) v = static_cast<float>(rng.Normal());
  }
  return m;
}

TEST(RmsNormTest, ByHand) {
  ThreadPool pool(1);
  Matrix x(1, 2), out(1, 2);
  x(0, 0) = 3, x(0, 1) = 4;  // mean of squares 12.5; with eps 0.5 the root is sqrt(13)
  std::vector<float> weight = {1, 2};
  RmsNorm(x, weight, 0.5, out, pool);
  EXPECT_FLOAT_EQ(out(0, 0), 3 / std::sqrt(13.0f));
  EXPECT_FLOAT_EQ(out(0, 1), 8 / std::sqrt(13.0f));
}

TEST(RopeTest, TurnsPairsThatAreHalfAHeadApart) {
  std::vector<size_t> positions = {0, 1};
  std::vector<double> frequency = {M_PI / 2, M_PI};
  RopeTable rope(positions, frequency);
  std::vector<float> x = {1, 2, 3, 4};
  ApplyRope(x, rope.cosine.row(0), rope.sine.row(0));
  EXPECT_THAT(x, ::testing::ElementsAre(1, 2, 3, 4));
  ApplyRope(x, rope.cosine.row(1), rope.sine.row(1));
  // A quarter turn of (1, 3) is (-3, 1), half a turn of (2, 4) is (-2, -4). sin(π) is not exactly
  // 0.
  EXPECT_THAT(x, ::testing::Pointwise(::testing::FloatNear(1e-6f), {-3.0f, -2.0f, 1.0f, -4.0f}));
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
  Matrix q = Random(s.length - s.first, s.heads * s.dim, 1);
  Matrix k = Random(s.length, s.kv_heads * s.dim, 2), v = Random(s.length, s.kv_heads * s.dim, 3);
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
  Matrix q = Random(s.length - s.first, s.heads * s.dim, 4);
  Matrix k = Random(s.length, s.kv_heads * s.dim, 5), v = Random(s.length, s.kv_heads * s.dim, 6);
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

TEST(VectorOpsTest, ExpIsWithinTwoUlpAndVanishesBelow) {
  std::vector<float> x;
  for (float v = -87; v <= 0; v += 0.00137f) x.push_back(v);
  std::vector<float> y = x;
  float sum = ExpShifted(y.data(), y.size(), 0);
  double exact_sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    double exact = std::exp(static_cast<double>(x[i]));
    exact_sum += exact;
    ASSERT_NEAR(y[i], exact, exact * 2 * 0x1.0p-23) << x[i];
  }
  EXPECT_NEAR(sum, exact_sum, exact_sum * static_cast<double>(x.size()) * 0x1.0p-24);
  std::vector<float> low = {-INFINITY, -200, 0};
  ExpShifted(low.data(), 3, 0);
  EXPECT_THAT(low, ::testing::ElementsAre(0.0f, 0.0f, 1.0f));
}

TEST(VectorOpsTest, SiluMultiplyFollowsItsDefinitionOverTheWholeRange) {
  for (size_t count : {1u, 7u, 8u, 33u}) {
    std::vector<float> gate, up(count, 2.0f);
    for (size_t i = 0; i < count; ++i) gate.push_back(-120 + 9.7f * static_cast<float>(i));
    std::vector<float> got = gate;
    SiluMultiply(got.data(), up.data(), count);
    for (size_t i = 0; i < count; ++i) {
      double g = gate[i], exact = 2 * g / (1 + std::exp(-g));
      // exp within 2 ulp, three more roundings; and the floor at exp(87) in the far tail.
      ASSERT_NEAR(got[i], exact, std::abs(exact) * 5 * 0x1.0p-23 + 1e-34) << gate[i];
    }
  }
}

TEST(LogSumExpTest, DoesNotOverflow) {
  std::vector<float> logits = {1000, 1000};
  EXPECT_DOUBLE_EQ(LogSumExp(logits), 1000 + std::log(2.0));
}

TEST(AttentionTest, NaNInAQueryOrAKeyIsNotHidden) {
  const Shape shape = {1, 1, 4, 5, 0, 0};
  const Matrix q = Random(5, 4, 1), k = Random(5, 4, 2), v = Random(5, 4, 3);
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
