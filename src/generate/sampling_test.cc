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

TEST(Sampling, TheUniformNumberPicksByProbabilityFromTheLikeliestOn) {
  // The intervals are [0, 4/7) for token 2, [4/7, 6/7) for token 1 and [6/7, 1) for token 0.
  EXPECT_EQ(SampleToken(kLogits, 1, 1, 0), 2);
  EXPECT_EQ(SampleToken(kLogits, 1, 1, 0.57), 2);
  EXPECT_EQ(SampleToken(kLogits, 1, 1, 0.58), 1);
  EXPECT_EQ(SampleToken(kLogits, 1, 1, 0.85), 1);
  EXPECT_EQ(SampleToken(kLogits, 1, 1, 0.86), 0);
  EXPECT_EQ(SampleToken(kLogits, 1, 1, std::nextafter(1.0, 0.0)), 0);
}

TEST(Sampling, TheNucleusIsTheSmallestSetThatHoldsTopP) {
  // 4/7 = 0.571 alone, 6/7 = 0.857 with token 1. What is kept is scaled to 1.
  EXPECT_EQ(SampleToken(kLogits, 1, 0.57, 0.999), 2);
  EXPECT_EQ(SampleToken(kLogits, 1, 0.58, 0.999), 1);
  EXPECT_EQ(SampleToken(kLogits, 1, 0.58, 0.66), 2);
  EXPECT_EQ(SampleToken(kLogits, 1, 0.58, 0.67), 1);
  EXPECT_EQ(SampleToken(kLogits, 1, 0.86, 0.999), 0);
  EXPECT_EQ(SampleToken(kLogits, 1, 0, 0.999), 2) << "the likeliest token is always kept";
}

TEST(Sampling, TemperatureDividesTheLogits) {
  // At 1/2 the weights are 1, 4, 16 of 21; at 2 they are 1, 1.414, 2 of 4.414.
  EXPECT_EQ(SampleToken(kLogits, 0.5, 1, 0.76), 2);
  EXPECT_EQ(SampleToken(kLogits, 0.5, 1, 0.77), 1);
  EXPECT_EQ(SampleToken(kLogits, 2, 1, 0.45), 2);
  EXPECT_EQ(SampleToken(kLogits, 2, 1, 0.46), 1);
}

TEST(Sampling, EqualLogitsAreInTheOrderOfTheirIds) {
  const std::vector<float> equal = {-1, 3, 3, -1};
  Rng random(1);
  EXPECT_EQ(ChooseToken(equal, 0, 1, random), 1);
  EXPECT_EQ(SampleToken(equal, 1, 0.1, 0.999), 1);
}

TEST(Sampling, OnlySampledTokensDrawFromTheStream) {
  Rng random(7), untouched(7);
  EXPECT_EQ(ChooseToken(kLogits, 0, 1, random), 2);
  EXPECT_EQ(random.Next(), untouched.Next());
  const double uniform = Rng(untouched).Uniform();
  EXPECT_EQ(ChooseToken(kLogits, 1, 1, random), SampleToken(kLogits, 1, 1, uniform));
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
