#include "evaluate/row_scores.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace qualm {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// The definitions, in long double and with a compensated sum's worth of spare digits.
struct Naive {
  long double nll = 0, reference_nll = 0, kl = 0, delta_p = 0;
};

std::vector<long double> LogSoftmax(const std::vector<float>& logits) {
  long double peak = -kInf, sum = 0;
  for (float logit : logits) peak = std::max(peak, static_cast<long double>(logit));
  for (float logit : logits) sum += std::exp(static_cast<long double>(logit) - peak);
  std::vector<long double> result;
  for (float logit : logits)
    result.push_back(static_cast<long double>(logit) - peak - std::log(sum));
  return result;
}

Naive NaiveCompare(const std::vector<float>& reference, const std::vector<float>& model,
                   size_t target) {
  const auto p = LogSoftmax(reference), q = LogSoftmax(model);
  Naive result;
  for (size_t v = 0; v < p.size(); ++v) result.kl += std::exp(p[v]) * (p[v] - q[v]);
  result.nll = -q[target];
  result.reference_nll = -p[target];
  result.delta_p = std::exp(q[target]) - std::exp(p[target]);
  return result;
}

std::vector<float> RandomRow(Rng& rng, size_t vocab, double scale) {
  std::vector<float> row(vocab);
  for (float& value : row) value = static_cast<float>(scale * rng.Normal());
  return row;
}

TEST(RowScores, UniformLogitsGiveLogOfTheVocabulary) {
  const std::vector<float> row(8, 3.5f);
  EXPECT_DOUBLE_EQ(NegativeLogLikelihood(row, 5), std::log(8.0));
}

TEST(RowScores, KlOfTwoCoinsByHand) {
  // p = (1/2, 1/2), q = (1/4, 3/4): KL = 1/2 log 2 + 1/2 log(2/3) = log(2/sqrt(3)).
  const std::vector<float> reference = {0, 0}, model = {0, std::log(3.0f)};
  const RowComparison comparison = RowComparer().Compare(reference, model, 0);
  // log(3) rounded to float moves q by at most 2^-24·log(3)·q(1-q) < 1.3e-8.
  EXPECT_NEAR(comparison.kl, std::log(2 / std::sqrt(3.0)), 2e-8);
  EXPECT_NEAR(comparison.delta_p, -0.25, 2e-8);
  EXPECT_NEAR(comparison.nll, std::log(4.0), 2e-7);
  EXPECT_DOUBLE_EQ(comparison.reference_nll, std::log(2.0));
}

TEST(RowScores, EqualRowsHaveNoDistance) {
  Rng rng(1);
  const std::vector<float> row = RandomRow(rng, 1000, 5);
  const RowComparison comparison = RowComparer().Compare(row, row, 17);
  EXPECT_EQ(comparison.kl, 0);
  EXPECT_EQ(comparison.delta_p, 0);
  EXPECT_TRUE(comparison.same_top1);
  EXPECT_EQ(comparison.nll, NegativeLogLikelihood(row, 17));
}

TEST(RowScores, AConstantAddedToAllLogitsIsNoDistanceAndNeverANegativeOne) {
  // Multiples of 2^-10 below 20 plus a small whole number are exact in float. What is left is the
  // rounding of the two normalisers, which enters the divergence only squared, and of p and q,
  // 2^-53 relative; it may have either sign (in 2 of these trials the sum is -9e-17).
  Rng rng(4);
  RowComparer comparer;
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<float> reference(1 + rng.Below(300)), model;
    for (float& value : reference) value = static_cast<float>(rng.Below(20000)) / 1024;
    const float shift = static_cast<float>(1 + rng.Below(8));
    for (const float value : reference) model.push_back(value + shift);
    const RowComparison comparison = comparer.Compare(reference, model, 0);
    ASSERT_GE(comparison.kl, 0);
    ASSERT_LT(comparison.kl, 1e-15);
    ASSERT_NEAR(comparison.nll, comparison.reference_nll, 1e-13);
  }
}

TEST(RowScores, TiedMaximaCountAsTheLowestId) {
  const std::vector<float> tie = {1, 2, 2}, second = {1, 3, 2}, third = {1, 2, 3};
  EXPECT_TRUE(RowComparer().Compare(tie, second, 0).same_top1);
  EXPECT_FALSE(RowComparer().Compare(tie, third, 0).same_top1);
}

TEST(RowScores, TheSmallestPerturbationStillHasAMeaningfulKl) {
  // Perturbing the logits by ε·z gives KL ≈ ε²/2·Var_p(z): for ε = 1e-6 about 5e-13. The float
  // logits are given, so the naive long double sum (error ~1e-17) is the truth; ours may be off by
  // the rounding of the terms, about 2^-53 in total.
  Rng rng(2);
  const std::vector<float> reference = RandomRow(rng, 6000, 2);
  for (const double epsilon : {1e-2, 1e-4, 1e-5, 1e-6}) {
    std::vector<float> model = reference;
    for (float& value : model) value = static_cast<float>(value + epsilon * rng.Normal());
    const double kl = RowComparer().Compare(reference, model, 3).kl;
    const double truth = static_cast<double>(NaiveCompare(reference, model, 3).kl);
    EXPECT_NEAR(kl, truth, 1e-15 + 1e-12 * truth) << epsilon;
    EXPECT_GT(kl, 0) << epsilon;
  }
}

TEST(RowScores, RandomRowsAgreeWithTheDefinition) {
  Rng rng(3);
  RowComparer comparer;
  for (const size_t vocab : {size_t{1}, size_t{2}, size_t{37}, size_t{2000}}) {
    for (const double scale : {0.1, 3.0, 30.0}) {
      const auto reference = RandomRow(rng, vocab, scale), model = RandomRow(rng, vocab, scale);
      const size_t target = static_cast<size_t>(rng.Below(vocab));
      const RowComparison got = comparer.Compare(reference, model, static_cast<TokenId>(target));
      const Naive want = NaiveCompare(reference, model, target);
      // Double rounding of sums of `vocab` terms: at most vocab·2^-53 relative, seen far less.
      EXPECT_NEAR(got.nll, static_cast<double>(want.nll), 1e-12);
      EXPECT_NEAR(got.reference_nll, static_cast<double>(want.reference_nll), 1e-12);
      EXPECT_NEAR(got.kl, static_cast<double>(want.kl), 1e-12);
      EXPECT_NEAR(got.delta_p, static_cast<double>(want.delta_p), 1e-13);
      EXPECT_GE(got.kl, 0);
    }
  }
}

TEST(RowScores, VeryLargeLogitsDoNotOverflow) {
  const std::vector<float> reference = {3e38f, -3e38f}, model = {-3e38f, 3e38f};
  const RowComparison comparison = RowComparer().Compare(reference, model, 1);
  EXPECT_EQ(comparison.nll, 0);
  EXPECT_NEAR(comparison.kl, 6e38, 1e33);
}

TEST(RowScores, MaskedTokensAreAllowedAndNanShows) {
  const std::vector<float> reference = {0, -kInf, 0}, model = {0, -kInf, 0};
  EXPECT_EQ(RowComparer().Compare(reference, model, 0).kl, 0);
  const std::vector<float> lost = {0, 0, -kInf};
  EXPECT_EQ(RowComparer().Compare(reference, lost, 0).kl, kInf);
  const std::vector<float> broken = {0, std::numeric_limits<float>::quiet_NaN(), 0};
  EXPECT_TRUE(std::isnan(NegativeLogLikelihood(broken, 0)));
  EXPECT_TRUE(std::isnan(RowComparer().Compare(reference, broken, 0).kl));
}

}  // namespace
}  // namespace qualm
