// Choices from logits whose probabilities are known: softmax of log 1, log 2, log 4 is 1/7, 2/7,
// 4/7.
#include "generate/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace qualm {
namespace {

const std::vector<float> kLogits = {0, std::log(2.0f), std::log(4.0f)};

Sampling Drawn(double temperature, double top_p) {
  return {.temperature = temperature, .top_p = top_p};
}

TEST(Sampling, TheUniformNumberPicksByProbabilityFromTheLikeliestOn) {
  // The intervals are [0, 4/7) for token 2, [4/7, 6/7) for token 1 and [6/7, 1) for token 0.
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 1), 0), 2);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 1), 0.57), 2);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 1), 0.58), 1);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 1), 0.85), 1);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 1), 0.86), 0);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 1), std::nextafter(1.0, 0.0)), 0);
}

TEST(Sampling, TheNucleusIsTheSmallestSetThatHoldsTopP) {
  // 4/7 = 0.571 alone, 6/7 = 0.857 with token 1. What is kept is scaled to 1.
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 0.57), 0.999), 2);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 0.58), 0.999), 1);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 0.58), 0.66), 2);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 0.58), 0.67), 1);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 0.86), 0.999), 0);
  EXPECT_EQ(SampleToken(kLogits, Drawn(1, 0), 0.999), 2) << "the likeliest token is always kept";
}

TEST(Sampling, TemperatureDividesTheLogits) {
  // At 1/2 the weights are 1, 4, 16 of 21; at 2 they are 1, 1.414, 2 of 4.414.
  EXPECT_EQ(SampleToken(kLogits, Drawn(0.5, 1), 0.76), 2);
  EXPECT_EQ(SampleToken(kLogits, Drawn(0.5, 1), 0.77), 1);
  EXPECT_EQ(SampleToken(kLogits, Drawn(2, 1), 0.45), 2);
  EXPECT_EQ(SampleToken(kLogits, Drawn(2, 1), 0.46), 1);
}

TEST(Sampling, EqualLogitsAreInTheOrderOfTheirIds) {
  const std::vector<float> equal = {-1, 3, 3, -1};
  Rng random(1);
  EXPECT_EQ(ChooseToken(equal, {}, random), 1);
  EXPECT_EQ(SampleToken(equal, Drawn(1, 0.1), 0.999), 1);
}

TEST(Sampling, TopKKeepsTheLikeliestAndTheirEquals) {
  // Of 4/7 and 2/7 the first has two thirds.
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .top_k = 2}, 0.66), 2);
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .top_k = 2}, 0.67), 1);
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .top_k = 2}, 0.999), 1);
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .top_k = 1}, 0.999), 2);
  for (size_t all : {size_t{0}, size_t{3}, size_t{4}}) {
    EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .top_k = all}, 0.999), 0) << all;
  }
  const std::vector<float> equal = {1, 3, 3, 3};
  EXPECT_EQ(SampleToken(equal, {.temperature = 1, .top_k = 2}, 0.999), 3);

  // The nucleus is one of what is left: 0.6 of it is less than two thirds.
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .top_k = 2, .top_p = 0.6}, 0.999), 2);
}

TEST(Sampling, MinPIsAShareOfTheLikeliest) {
  // The likeliest is twice and four times as likely as the others.
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .min_p = 0.51}, 0.999), 2);
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .min_p = 0.49}, 0.999), 1);
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .min_p = 0.49}, 0.66), 2);
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .min_p = 0.24}, 0.999), 0);
  EXPECT_EQ(SampleToken(kLogits, {.temperature = 1, .min_p = 1}, 0.999), 2);
}

TEST(Sampling, ARepetitionPenaltyMovesEachSeenTokenOnce) {
  std::vector<float> logits = {2, -2, 0, 3};
  PenalizeRepetition(std::vector<TokenId>{1, 0, 1, 0, 2}, 1.25, logits);
  EXPECT_EQ(logits, (std::vector<float>{1.6f, -2.5f, 0, 3}));
}

TEST(Sampling, OnlySampledTokensDrawFromTheStream) {
  Rng random(7), untouched(7);
  EXPECT_EQ(ChooseToken(kLogits, {}, random), 2);
  EXPECT_EQ(random.Next(), untouched.Next());
  const double uniform = Rng(untouched).Uniform();
  EXPECT_EQ(ChooseToken(kLogits, Drawn(1, 1), random), SampleToken(kLogits, Drawn(1, 1), uniform));
  (void)untouched.Uniform();
  EXPECT_EQ(random.Next(), untouched.Next()) << "one number for each token";
}

TEST(Sampling, OneLogitThatIsNotFiniteIsSeenWhereverItIs) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  EXPECT_TRUE(AreFinite(std::vector<float>{largest, -largest, largest, 0}));
  for (float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (size_t at = 0; at < 5; ++at) {
      std::vector<float> logits(5, largest);
      logits[at] = bad;
      EXPECT_FALSE(AreFinite(logits)) << bad << " at " << at;
    }
  }
}

}  // namespace
}  // namespace qualm
