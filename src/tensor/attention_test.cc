#include "tensor/attention.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "support/random_matrix.h"
#include "support/test_context.h"
#include "tensor/isa.h"
#include "tensor/reference/attention_reference.h"

namespace qualm {
namespace {

using testing::RandomMatrix;

struct Shape {
  size_t heads, kv_heads, dim, length, first, window;
  float soft_cap = 0;
  float slope = 0;  // of the first head; each head's is half of the one before; 0: none
  bool in_bfloat16 = false;
};

// The bytes between a shape's fields, which would be printed, are not the same in every run.
void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.heads << " heads of " << shape.dim << ", " << shape.length << " positions";
}

std::vector<float> SlopesOf(const Shape& shape) {
  std::vector<float> slopes;
  for (size_t head = 0; shape.slope > 0 && head < shape.heads; ++head) {
    slopes.push_back(std::ldexp(shape.slope, -static_cast<int>(head)));
  }
  return slopes;
}

AttentionParameters ParametersOf(const Shape& shape, std::span<const float> slopes) {
  return {.heads = shape.heads,
          .scale = ScaleOfHeadDim(shape.dim),
          .window = shape.window,
          .soft_cap = shape.soft_cap,
          .alibi_slopes = slopes,
          .alibi_in_bfloat16 = shape.in_bfloat16};
}

Matrix RunAttention(const Shape& shape, const Matrix& q, const Matrix& k, const Matrix& v,
                    int threads) {
  testing::TestContext context(threads);
  AttentionCache cache(shape.kv_heads, shape.dim, shape.length);
  for (size_t s = 0; s < shape.length; ++s) cache.Store(s, k.row(s), v.row(s));
  Matrix out(q.rows(), q.cols());
  std::vector<AttentionJob> jobs = {{&cache, shape.first, q.view(), out.view()}};
  const std::vector<float> slopes = SlopesOf(shape);
  Attention(jobs, ParametersOf(shape, slopes), context);
  return out;
}

// The last query's result over one head of one dimension with the key and value of each position.
float Attend(float query, const std::vector<float>& keys, const std::vector<float>& values,
             const AttentionParameters& parameters) {
  testing::TestContext context(1);
  AttentionCache cache(1, 1, keys.size());
  for (size_t s = 0; s < keys.size(); ++s) cache.Store(s, {&keys[s], 1}, {&values[s], 1});
  float out = NAN;
  const AttentionJob job{&cache, keys.size() - 1, {&query, 1, 1}, {&out, 1, 1}};
  Attention({&job, 1}, parameters, context);
  return out;
}

TEST(AttentionByHandTest, TheScaleMultipliesTheScores) {
  // Scores 0 and 2·ln 3·0.5 = ln 3, so the weights are 1/4 and 3/4.
  const float got = Attend(2, {0, std::log(3.0f)}, {4, 8}, {.heads = 1, .scale = 0.5f});
  EXPECT_FLOAT_EQ(got, 1 + 6);
}

TEST(AttentionByHandTest, TheCapBoundsScoresOfAnySize) {
  // Scores ±1e30 become ±2: the weights are 1/(1 + e⁴) and 1/(1 + e⁻⁴).
  const float got = Attend(1, {-1e30f, 1e30f}, {1, 0}, {.heads = 1, .scale = 1, .soft_cap = 2});
  EXPECT_FLOAT_EQ(got, static_cast<float>(1 / (1 + std::exp(4.0))));
}

TEST(AttentionByHandTest, TheCapComesAfterTheScale) {
  // The scaled scores are 0 and 4, the capped ones 0 and 2·tanh(2).
  const float got = Attend(1, {0, 8}, {1, 0}, {.heads = 1, .scale = 0.5f, .soft_cap = 2});
  EXPECT_FLOAT_EQ(got, static_cast<float>(1 / (1 + std::exp(2 * std::tanh(2.0)))));
}

TEST(AttentionByHandTest, AlibiHalvesTheWeightOfEachStepBack) {
  // With equal keys and the slope ln 2, three positions have the weights 1/7, 2/7 and 4/7.
  const std::vector<float> slope = {std::log(2.0f)};
  const AttentionParameters parameters{.heads = 1, .scale = 1, .alibi_slopes = slope};
  EXPECT_FLOAT_EQ(Attend(1, {5, 5, 5}, {7, 0, 0}, parameters), 1);
  EXPECT_FLOAT_EQ(Attend(1, {5, 5, 5}, {0, 7, 0}, parameters), 2);
  EXPECT_FLOAT_EQ(Attend(1, {5, 5, 5}, {0, 0, 7}, parameters), 4);
}

TEST(AttentionByHandTest, AlibiInBFloat16RoundsThePositionAsWell) {
  // In bfloat16, which has eight bits, position 257 is 256, and both give 1.5 * 256 = 384. The
  // positions before them give 382, 380, 380 and 378.
  const std::vector<float> slope = {1.5f};
  const std::vector<float> keys(258, 0.0f);
  std::vector<float> values(258, 0.0f);
  values[256] = 4;
  const AttentionParameters parameters{
      .heads = 1, .scale = 1, .alibi_slopes = slope, .alibi_in_bfloat16 = true};
  const double sum = 2 + std::exp(-2.0) + 2 * std::exp(-4.0) + std::exp(-6.0);
  EXPECT_NEAR(Attend(1, keys, values, parameters), 4 / sum, 1e-3);
}

TEST(AttentionByHandTest, TheCapDoesNotBoundAlibi) {
  // The capped scores are both 1 (tanh of 1e3 is 1); a slope of 40 leaves e⁻⁴⁰ for the first.
  const std::vector<float> slope = {40};
  const float got = Attend(1, {1e3f, 1e3f}, {1, 0},
                           {.heads = 1, .scale = 1, .soft_cap = 1, .alibi_slopes = slope});
  EXPECT_FLOAT_EQ(got, static_cast<float>(std::exp(-40.0)));
}

// Products of 64 and 256, 257, 258 round to 64·256, 64·256 and 64·258: of the last three positions
// only the last one counts. Without the last the two before it are equal.
TEST(AttentionByHandTest, AlibiInBfloat16TakesNeighboursForOne) {
  const std::vector<float> slope = {64};
  const AttentionParameters parameters{
      .heads = 1, .scale = 1, .alibi_slopes = slope, .alibi_in_bfloat16 = true};
  std::vector<float> values(259, 0.0f);
  values[256] = 2;
  values[257] = 4;
  values[258] = 8;
  EXPECT_FLOAT_EQ(Attend(1, std::vector<float>(259, 5), values, parameters), 8);
  values.pop_back();
  EXPECT_FLOAT_EQ(Attend(1, std::vector<float>(258, 5), values, parameters), 3);
}

// Unlike the usual one it is added before the scores are scaled: 0.25·8·(s + 0) for position s,
// where the slope 8.01 rounds to 8.
TEST(AttentionByHandTest, AlibiInBfloat16IsScaledAsTheScoresAre) {
  const std::vector<float> slope = {8.01f};
  const float got =
      Attend(1, {5, 5}, {1, 0},
             {.heads = 1, .scale = 0.25f, .alibi_slopes = slope, .alibi_in_bfloat16 = true});
  EXPECT_FLOAT_EQ(got, static_cast<float>(1 / (1 + std::exp(2.0))));
}

TEST(AttentionByHandTest, AJobWithoutQueriesWritesNothing) {
  testing::TestContext context(2);
  AttentionCache cache(1, 4, 1);
  const AttentionJob job{&cache, 0, {}, {}};
  Attention({&job, 1}, {.heads = 1, .scale = 1}, context);
  Attention({}, {.heads = 1, .scale = 1}, context);
}

class AttentionTest : public ::testing::TestWithParam<Shape> {};

TEST_P(AttentionTest, AgreesWithTheNaiveSumInDouble) {
  const Shape& s = GetParam();
  Matrix q = RandomMatrix(s.length - s.first, s.heads * s.dim, 1);
  Matrix k = RandomMatrix(s.length, s.kv_heads * s.dim, 2);
  Matrix v = RandomMatrix(s.length, s.kv_heads * s.dim, 3);
  const std::vector<float> slopes = SlopesOf(s);
  Matrix expected = reference::Attention(q, k, v, ParametersOf(s, slopes), s.kv_heads, s.first);
  Matrix got = RunAttention(s, q, k, v, 2);
  // Scores are sums of `dim` products of size about 1, their error in float about
  // dim·2^-24·|score|, at most a few 1e-6 in the exponent. The cap adds the 8·2^-24·cap of its tanh
  // (its slope is at most 1), ALiBi two roundings of numbers up to slope·length. The weights sum to
  // 1, their relative error is twice that of the exponents, and |v| stays below 5.
  const double exponent_error = (2 * (static_cast<double>(s.dim) + 64) + 8 * double{s.soft_cap} +
                                 2 * double{s.slope} * static_cast<double>(s.length)) *
                                0x1.0p-24;
  for (size_t t = 0; t < q.rows(); ++t) {
    for (size_t c = 0; c < q.cols(); ++c) {
      ASSERT_NEAR(got(t, c), expected(t, c), 2 * 5 * exponent_error);
    }
  }
}

TEST_P(AttentionTest, AQueryAloneHasTheBitsItHasInABatch) {
  const Shape& s = GetParam();
  Matrix q = RandomMatrix(s.length - s.first, s.heads * s.dim, 4);
  Matrix k = RandomMatrix(s.length, s.kv_heads * s.dim, 5);
  Matrix v = RandomMatrix(s.length, s.kv_heads * s.dim, 6);
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

TEST_P(AttentionTest, AllInstructionSetsGiveTheSameBits) {
  const Shape& s = GetParam();
  Matrix q = RandomMatrix(s.length - s.first, s.heads * s.dim, 7);
  Matrix k = RandomMatrix(s.length, s.kv_heads * s.dim, 8);
  Matrix v = RandomMatrix(s.length, s.kv_heads * s.dim, 9);
  const Matrix expected = RunAttention(s, q, k, v, 1);
  const std::string_view before = InstructionSet();
  for (std::string_view isa : AvailableInstructionSets()) {
    ASSERT_TRUE(SetInstructionSet(isa));
    const Matrix got = RunAttention(s, q, k, v, 1);
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), q.rows() * q.cols() * sizeof(float)), 0)
        << isa;
  }
  SetInstructionSet(before);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    ::testing::Values(Shape{1, 1, 2, 1, 0, 0}, Shape{4, 2, 16, 63, 0, 0}, Shape{4, 4, 8, 65, 0, 0},
                      Shape{2, 1, 10, 130, 100, 0}, Shape{3, 1, 64, 200, 0, 8},
                      Shape{2, 2, 32, 200, 64, 64}, Shape{2, 2, 32, 150, 3, 65},
                      Shape{4, 2, 16, 130, 0, 0, 0.5f}, Shape{2, 1, 64, 200, 30, 10, 50},
                      Shape{4, 2, 16, 200, 0, 0, 0, 0.5f}, Shape{3, 3, 8, 150, 64, 65, 0, 0.25f},
                      Shape{2, 1, 8, 70, 0, 0, 2, 0.125f},
                      Shape{4, 2, 16, 300, 0, 0, 0, 0.3f, true},
                      Shape{3, 3, 8, 400, 200, 65, 0, 0.07f, true},
                      Shape{2, 1, 8, 300, 100, 0, 2, 1.7f, true}));

TEST(AttentionTest, NaNInAQueryOrAKeyIsNotHidden) {
  for (float soft_cap : {0.0f, 2.0f}) {
    const Shape shape = {1, 1, 4, 5, 0, 0, soft_cap};
    const Matrix q = RandomMatrix(5, 4, 1), k = RandomMatrix(5, 4, 2), v = RandomMatrix(5, 4, 3);
    Matrix bad_q = Matrix::CopyOf(q), bad_k = Matrix::CopyOf(k);
    bad_q(4, 2) = NAN;
    bad_k(1, 0) = NAN;
    const Matrix by_query = RunAttention(shape, bad_q, k, v, 1);
    EXPECT_TRUE(std::isnan(by_query(4, 0)));
    EXPECT_FALSE(std::isnan(by_query(3, 0)));
    const Matrix by_key = RunAttention(shape, q, bad_k, v, 1);
    for (size_t t = 0; t < 5; ++t) EXPECT_EQ(std::isnan(by_key(t, 1)), t >= 1) << t;
  }
}

}  // namespace
}  // namespace qualm
