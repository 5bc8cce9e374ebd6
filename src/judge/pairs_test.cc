#include "judge/pairs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "analysis/distributions.h"

namespace qualm {
namespace {

// Of equal weights it is the paired t-test of every textbook: differences 1, 2, 4, 5 have the mean
// 3 and the deviation sqrt(10/3), so t = 3 / sqrt(10/12) with 3 degrees of freedom.
TEST(Pairs, EqualWindowsGiveThePairedTTest) {
  const PairedWindows first = {
      .weights = {1, 1, 1, 1}, .nll = {0, 0, 0, 0}, .targets = {1, 1, 1, 1}};
  PairedWindows second = first;
  second.nll = {1, 2, 4, 5};
  const PairTest test = TestLogPerplexity(first, second);
  EXPECT_EQ(test.n, 4U);
  EXPECT_DOUBLE_EQ(test.difference.value, 3);
  EXPECT_NEAR(test.difference.standard_error, std::sqrt(10.0 / 12), 1e-14);
  EXPECT_NEAR(test.p, StudentTwoSided(3 / std::sqrt(10.0 / 12), 3), 1e-14);
  EXPECT_NEAR(TestLogPerplexity(second, first).difference.value, -3, 0);
}

// Weights and targets count.
TEST(Pairs, LongerWindowsCountMore) {
  PairedWindows first = {.weights = {1, 3}, .nll = {0, 0}, .targets = {2, 6}, .kl = {0, 0}};
  PairedWindows second = first;
  second.nll = {1, 5};
  second.kl = {2, 30};
  EXPECT_DOUBLE_EQ(TestLogPerplexity(first, second).difference.value, (1 + 15) / 4.0);
  EXPECT_DOUBLE_EQ(TestKl(first, second).difference.value, 32 / 8.0);
}

TEST(Pairs, OneWindowHasNoErrorAndEqualOnesNoDoubt) {
  const PairedWindows one = {.weights = {1}, .nll = {1}, .targets = {1}};
  EXPECT_TRUE(std::isnan(TestLogPerplexity(one, one).p));
  const PairedWindows two = {.weights = {1, 1}, .nll = {1, 2}, .targets = {1, 1}};
  EXPECT_EQ(TestLogPerplexity(two, two).p, 1);
  PairedWindows shifted = two;
  shifted.nll = {2, 3};
  EXPECT_EQ(TestLogPerplexity(two, shifted).p, 0);
}

TEST(Pairs, AccuraciesAreTestedByTheItemsThatChangedSides) {
  std::vector<ItemOutcome> first(6), second(6);
  for (size_t i = 0; i < 6; ++i) {
    first[i] = {.value = i < 5 ? 1.0 : 0.0, .is_right = i < 5};
    second[i] = {.value = 0, .is_right = false};
  }
  const PairedComparison paired = ComparePaired(first, second);
  const PairTest test = TestItems(paired, true);
  EXPECT_EQ(test.right_to_wrong, 5U);
  EXPECT_NEAR(test.p, 2 * std::pow(0.5, 5), 1e-12);  // five coins on one side
  EXPECT_LT(TestItems(paired, false).p, test.p);     // Student's t on -1, -1, -1, -1, -1, 0
}

}  // namespace
}  // namespace qualm
