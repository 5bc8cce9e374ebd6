#include "evaluate/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/errors.h"
#include "support/temporary_folder.h"

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

// A finished evaluation of two items, the first filter's values 0 and those given by a further one.
void Keep(ResultStore& store, const std::string& model, const std::string& filter,
          const std::vector<double>& values) {
  store.Begin();
  store.PutModel(model, model);
  EvaluationKey key;
  key.model = model;
  key.task = "t";
  const int64_t id = store.PutEvaluation(key);
  for (size_t i = 0; i < values.size(); ++i) {
    StoredItem item;
    item.item = i;
    store.PutItem(id, item);
    if (!filter.empty()) store.PutReading(id, {i, 0, filter, "read", values[i]});
  }
  store.FinishEvaluation(id);
  store.Commit();
}

TEST(Comparison, AFurtherFilterCanBeNamed) {
  const testing::TemporaryFolder folder;
  ResultStore store(folder / "results.db");
  Keep(store, "aaaa", "flexible-extract", {1, 1});
  Keep(store, "bbbb", "flexible-extract", {1, 0});
  EXPECT_EQ(CompareModels(store, "aaaa", "bbbb")[0].paired.first, 0);
  const TaskComparison further = CompareModels(store, "aaaa", "bbbb", "flexible-extract")[0];
  EXPECT_EQ(further.filter, "flexible-extract");
  EXPECT_EQ(further.paired.first, 1);
  EXPECT_EQ(further.paired.second, 0.5);
  EXPECT_EQ(further.paired.right_to_wrong, 1u);

  using ::testing::HasSubstr;
  const auto message = [&](const char* second, const char* filter) {
    return testing::ErrorOf([&] { (void)CompareModels(store, "aaaa", second, filter); });
  };
  EXPECT_THAT(message("bbbb", "strict"), HasSubstr("got 'strict'; there are flexible-extract; "));
  Keep(store, "cccc", "", {1, 0});
  Keep(store, "dddd", "", {1, 0});
  EXPECT_THAT(testing::ErrorOf([&] { (void)CompareModels(store, "cccc", "dddd", "strict"); }),
              HasSubstr("each task has one filter"));
}

}  // namespace
}  // namespace qualm
