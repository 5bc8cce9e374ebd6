#include "evaluate/comparison.h"

#include <gtest/gtest.h>

#include <cmath>

namespace qualm {
namespace {

// Right (1) or wrong (0) by item.
std::vector<ItemOutcome> Outcomes(const std::vector<int>& right) {
  std::vector<ItemOutcome> outcomes;
  for (int one : right) outcomes.push_back({static_cast<double>(one), one == 1, {}});
  return outcomes;
}

TEST(Comparison, PairedByHand) {
  const auto a = Outcomes({1, 1, 1, 0, 0, 1, 1, 1});
  const auto b = Outcomes({1, 0, 0, 1, 0, 1, 0, 1});
  const PairedComparison got = ComparePaired(a, b);
  EXPECT_EQ(got.n, 8u);
  EXPECT_EQ(got.first, 0.75);
  EXPECT_EQ(got.second, 0.5);
  EXPECT_EQ(got.right_to_wrong, 3u);
  EXPECT_EQ(got.wrong_to_right, 1u);
  EXPECT_EQ(got.difference.value, -0.25);
  // Differences 0 -1 -1 1 0 0 -1 0: squares 4, variance (4 - 8/16)/7 = 0.5, error sqrt(0.5/8).
  EXPECT_DOUBLE_EQ(got.difference.standard_error, 0.25);
  EXPECT_DOUBLE_EQ(got.low, -0.25 - 0.49);
  // At most 1 of 4 coins, both sides: 2·(1 + 4)/16.
  EXPECT_NEAR(got.mcnemar_p, 0.625, 1e-12);
}

TEST(Comparison, McNemarAgainstCountingAllCoins) {
  for (size_t flips = 0; flips <= 12; ++flips) {
    for (size_t lost = 0; lost <= flips; ++lost) {
      auto a = Outcomes(std::vector<int>(flips, 0)), b = Outcomes(std::vector<int>(flips, 1));
      for (size_t i = 0; i < lost; ++i) std::swap(a[i], b[i]);
      double extreme = 0;
      const size_t few = std::min(lost, flips - lost);
      for (uint32_t coins = 0; coins < 1u << flips; ++coins) {
        const auto heads = static_cast<size_t>(__builtin_popcount(coins));
        extreme += heads <= few || heads >= flips - few ? 1 : 0;
      }
      EXPECT_NEAR(ComparePaired(a, b).mcnemar_p, std::min(1.0, extreme / (1u << flips)), 1e-9);
    }
  }
}

TEST(Comparison, NoneAndOneItem) {
  EXPECT_TRUE(std::isnan(ComparePaired({}, {}).difference.value));
  const auto right = Outcomes({1});
  const PairedComparison one = ComparePaired(right, right);
  EXPECT_EQ(one.difference.value, 0);
  EXPECT_TRUE(std::isnan(one.difference.standard_error));
  EXPECT_EQ(one.mcnemar_p, 1);
  EXPECT_TRUE(std::isnan(one.choice_kl.value));
}

TEST(Comparison, ValuesThatAreNoAccuraciesByHand) {
  const std::vector<ItemOutcome> a = {{0.5, false, {}}, {1, true, {}}};
  const std::vector<ItemOutcome> b = {{0.75, false, {}}, {0.75, false, {}}};
  const PairedComparison got = ComparePaired(a, b);
  EXPECT_EQ(got.first, 0.75);
  EXPECT_EQ(got.second, 0.75);
  EXPECT_EQ(got.difference.value, 0);
  EXPECT_DOUBLE_EQ(got.difference.standard_error, 0.25);  // of 0.25 and -0.25
  EXPECT_EQ(got.right_to_wrong, 1u);
}

TEST(Comparison, KlOfChoicesByHand) {
  // Probabilities (1/4, 3/4) against (1/2, 1/2), the second item's equal; a constant is no matter.
  const std::vector<ItemOutcome> a = {{1, true, {std::log(1.0), std::log(3.0)}},
                                      {1, true, {-5, -6}}};
  const std::vector<ItemOutcome> b = {{1, true, {7, 7}}, {1, true, {-15, -16}}};
  const double kl = 0.25 * std::log(0.5) + 0.75 * std::log(1.5);
  const PairedComparison got = ComparePaired(a, b);
  EXPECT_NEAR(got.choice_kl.value, kl / 2, 1e-12);
  EXPECT_NEAR(got.choice_kl.standard_error, kl / 2, 1e-12);  // of kl and 0
}

}  // namespace
}  // namespace qualm
