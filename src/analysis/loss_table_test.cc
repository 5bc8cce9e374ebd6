#include "analysis/loss_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "base/strings.h"

namespace qualm {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

// Losses of unit weight: a mean, and effects of seeds, clusters and both.
LossTable Crossed(size_t seeds, size_t clusters, double mean, double by_seed, double by_cluster,
                  double by_both, uint64_t stream) {
  Rng rng(stream, "crossed");
  LossTable table(std::vector<double>(clusters, 1));
  std::vector<double> effects(clusters);
  for (double& effect : effects) effect = by_cluster * rng.Normal();
  for (size_t s = 0; s < seeds; ++s) {
    const double own = by_seed * rng.Normal();
    std::vector<double> sums(clusters);
    for (size_t c = 0; c < clusters; ++c) {
      sums[c] = mean + own + effects[c] + by_both * rng.Normal();
    }
    table.AddSeed(sums);
  }
  return table;
}

TEST(LossTable, MeansAreWeighted) {
  LossTable table({1, 3});
  table.AddSeed({2, 3});
  table.AddSeed({4, 12});
  EXPECT_DOUBLE_EQ(table.SeedMean(0), 5.0 / 4);
  EXPECT_DOUBLE_EQ(table.SeedMean(1), 4);
  EXPECT_DOUBLE_EQ(table.Mean(), (5.0 / 4 + 4) / 2);
}

TEST(LossTable, OneSeedStandsForAll) {
  LossTable many({1, 1}), one({1, 1});
  many.AddSeed({1, 2});
  many.AddSeed({3, 4});
  one.AddSeed({1, 1});
  const LossTable difference = many.Minus(one);
  ASSERT_EQ(difference.seeds(), 2U);
  EXPECT_EQ(difference.sum(1, 0), 2);
  EXPECT_EQ(one.Minus(many).sum(1, 1), -3);
  const LossTable average = LossTable::Average({many, one});
  EXPECT_EQ(average.sum(1, 1), 2.5);
}

TEST(LossTable, TestsSideBySideCountEqually) {
  LossTable few({1}), many({1, 1, 1});
  few.AddSeed({6});
  many.AddSeed({1, 2, 3});
  const LossTable both = LossTable::SideBySide({few, many});
  EXPECT_DOUBLE_EQ(both.Mean(), (6 + 2) / 2.0);
  EXPECT_THAT(both.strata(), ElementsAre(0, 1, 1, 1));
}

// With one seed the error is that of a mean over clusters, in closed form.
TEST(Infer, OneSeedGivesTheErrorOfAMean) {
  const LossTable table = Crossed(1, 60, 1, 0, 2, 0, 7);
  double mean = table.Mean(), squares = 0;
  for (size_t c = 0; c < 60; ++c) squares += std::pow(table.sum(0, c) - mean, 2);
  const double error = std::sqrt(squares / 59 / 60);
  const Inference inference = Infer(table, "test");
  // 1000 replicates know a standard deviation to 1/sqrt(2000) = 2.2 %; five times that.
  EXPECT_NEAR(inference.standard_error, error, 0.12 * error);
  EXPECT_DOUBLE_EQ(inference.df, 59);
  EXPECT_TRUE(std::isnan(inference.seed_deviation));
  EXPECT_NEAR(inference.effect_size, mean / std::sqrt(squares / 59), 1e-12);
}

// Var(mean) = a²/S + b²/C + e²/(SC); averaged over many studies the bootstrap's square is that,
// with the last term up to three times (Owen 2007), which is small here.
TEST(Infer, ErrorsHoldSeedsAndClusters) {
  double sum = 0;
  constexpr uint64_t kStudies = 60;
  for (uint64_t i = 0; i < kStudies; ++i) {
    const Inference one = Infer(Crossed(4, 30, 0, 0.5, 1, 0.1, 100 + i), "errors");
    sum += one.standard_error * one.standard_error / kStudies;
  }
  const double variance = 0.25 / 4 + 1.0 / 30 + 0.01 / 120;
  // A study's part of seeds, two thirds of it, is known to sqrt(2/3): the mean of 60 to 7 %; 3.5
  // times that.
  EXPECT_NEAR(sum, variance, 0.25 * variance);
  // Items resampled for each seed anew would have said 0.25/4 + 1/120 at most.
  EXPECT_GT(sum, 0.25 / 4 + 1.0 / 120 + 0.005);
}

// The share of false alarms where nothing differs, for three shapes of noise.
TEST(Infer, FalseAlarmsAreAboutFivePercent) {
  struct Shape {
    double seed, cluster, both;
  };
  for (const Shape& shape : {Shape{0.5, 1, 0.3}, Shape{0, 1, 1}, Shape{1, 0.2, 0.2}}) {
    int alarms = 0;
    constexpr int kStudies = 300;
    for (int i = 0; i < kStudies; ++i) {
      const LossTable table =
          Crossed(3, 25, 0, shape.seed, shape.cluster, shape.both, 1000 + static_cast<uint64_t>(i));
      alarms += Infer(table, "alarms").p < 0.05 ? 1 : 0;
    }
    // 5 % of 300 is 15 ± 3.8; four deviations above. Fewer is allowed: the test may be careful.
    EXPECT_LE(alarms, 30) << shape.seed;
    EXPECT_GE(alarms, 1) << shape.seed;
  }
}

// The difference called detectable is found in about four of five studies.
TEST(Infer, DetectableDifferencesAreDetected) {
  double detectable = 0;
  for (uint64_t i = 0; i < 40; ++i) {
    detectable += Infer(Crossed(3, 40, 0, 0.05, 1, 0.2, 5000 + i), "power").detectable / 40;
  }
  int found = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    found += Infer(Crossed(3, 40, detectable, 0.05, 1, 0.2, 6000 + i), "power").p < 0.05 ? 1 : 0;
  }
  // 80 % of 200 is 160 ± 5.7; four deviations.
  EXPECT_GT(found, 200 * 0.68);
  EXPECT_LT(found, 200 * 0.92);
}

// One less than there are, in every stratum (Rao and Wu).
TEST(Draws, LeaveOneOut) {
  const LossTable both = LossTable::SideBySide(
      {Crossed(1, 5, 0, 0, 1, 0, 1), Crossed(1, 9, 0, 0, 1, 0, 2), Crossed(1, 1, 0, 0, 1, 0, 3)});
  const std::vector<double> counts = ClusterDraw(both, "draws", 0);
  ASSERT_EQ(counts.size(), 15U);
  double sums[3] = {};
  for (size_t c = 0; c < counts.size(); ++c) sums[both.strata()[c]] += counts[c];
  EXPECT_THAT(sums, ElementsAre(4, 8, 1));
  double seeds = 0;
  for (double count : SeedDraw(4, "draws", 0)) seeds += count;
  EXPECT_EQ(seeds, 3);
  EXPECT_THAT(SeedDraw(1, "draws", 0), ElementsAre(1));
}

TEST(Infer, CountsSeedsThatAgree) {
  LossTable table({1, 1, 1});
  table.AddSeed({1, 1.1, 0.9});
  table.AddSeed({2, 2.1, 2.2});
  table.AddSeed({-0.1, -0.1, 0});
  const Inference inference = Infer(table, "agree");
  EXPECT_EQ(inference.seeds_agreeing, 2U);
  EXPECT_NEAR(inference.seed_deviation,
              std::sqrt((std::pow(1 - 1.01111, 2) + std::pow(2.1 - 1.01111, 2) +
                         std::pow(-0.066667 - 1.01111, 2)) /
                        2),
              1e-4);
}

TEST(Infer, EqualLossesAreNoDifference) {
  LossTable zero({1, 1, 1});
  zero.AddSeed({0, 0, 0});
  EXPECT_EQ(Infer(zero, "zero").p, 1);
  LossTable single({2});
  single.AddSeed({1});
  EXPECT_TRUE(std::isnan(Infer(single, "single").p));
}

TEST(Infer, SameTableSameNumbers) {
  const LossTable table = Crossed(3, 20, 0.2, 0.3, 1, 0.2, 3);
  EXPECT_EQ(Infer(table, "a").standard_error, Infer(table, "a").standard_error);
  EXPECT_NE(Infer(table, "a").standard_error, Infer(table, "b").standard_error);
}

// A stratum's own mean is no error: tests that differ in difficulty are side by side.
TEST(Infer, DifferencesBetweenTestsAreNoError) {
  const LossTable easy = Crossed(2, 30, 0, 0, 0.1, 0.05, 1);
  const LossTable hard = Crossed(2, 30, 50, 0, 0.1, 0.05, 2);
  EXPECT_LT(Infer(LossTable::SideBySide({easy, hard}), "strata").standard_error, 0.03);
}

// Holm 1979: 0.01, 0.04, 0.03, 0.005 → 0.03, 0.06, 0.06, 0.02.
TEST(Holm, AdjustsStepDown) {
  EXPECT_THAT(HolmAdjusted({0.01, 0.04, 0.03, 0.005}),
              ElementsAre(DoubleNear(0.03, 1e-12), DoubleNear(0.06, 1e-12), DoubleNear(0.06, 1e-12),
                          DoubleNear(0.02, 1e-12)));
  const std::vector<double> with_none = HolmAdjusted({0.02, NAN, 0.9});
  EXPECT_DOUBLE_EQ(with_none[0], 0.04);
  EXPECT_TRUE(std::isnan(with_none[1]));
  EXPECT_DOUBLE_EQ(with_none[2], 0.9);
}

}  // namespace
}  // namespace qualm
