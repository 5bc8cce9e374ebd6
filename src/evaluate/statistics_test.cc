#include "evaluate/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace qualm {
namespace {

TEST(RatioEstimate, EqualWeightsGiveMeanAndItsStandardError) {
  // 1, 2, 3, 6: mean 3, squares 4+1+0+9 = 14, se = sqrt(14/3/4).
  const std::array<double, 4> values = {1, 2, 3, 6}, ones = {1, 1, 1, 1};
  const Estimate estimate = RatioEstimate(values, ones);
  EXPECT_DOUBLE_EQ(estimate.value, 3);
  EXPECT_DOUBLE_EQ(estimate.standard_error, std::sqrt(14.0 / 12.0));
}

TEST(RatioEstimate, WeightsEnterValueAndError) {
  // Windows of 3 and 1 tokens with means 2 and 4: R = (6+4)/4 = 2.5; residuals 6-7.5 = -1.5 and
  // 4-2.5 = 1.5; se = sqrt(2/1·4.5)/4 = 3/4.
  const std::array<double, 2> sums = {6, 4}, weights = {3, 1};
  const Estimate estimate = RatioEstimate(sums, weights);
  EXPECT_DOUBLE_EQ(estimate.value, 2.5);
  EXPECT_DOUBLE_EQ(estimate.standard_error, 0.75);
}

TEST(RatioEstimate, OneWindowHasNoError) {
  const std::array<double, 1> sums = {6}, weights = {3};
  EXPECT_EQ(RatioEstimate(sums, weights).value, 2);
  EXPECT_TRUE(std::isnan(RatioEstimate(sums, weights).standard_error));
}

TEST(DeltaMethod, ExpAndSqrtScaleTheErrorByTheDerivative) {
  const Estimate e = ExpOf({2, 0.1});
  EXPECT_DOUBLE_EQ(e.value, std::exp(2.0));
  EXPECT_DOUBLE_EQ(e.standard_error, 0.1 * std::exp(2.0));
  const Estimate s = SqrtOf({9, 0.6});
  EXPECT_DOUBLE_EQ(s.value, 3);
  EXPECT_DOUBLE_EQ(s.standard_error, 0.1);
  EXPECT_EQ(SqrtOf({0, 0}).standard_error, 0);
}

TEST(ClusteredSample, QuantilesInterpolateBetweenOrderStatistics) {
  ClusteredSample sample;
  sample.AddWindow(std::array<double, 3>{5, 1, 4});
  sample.AddWindow(std::array<double, 3>{2, 3, 10});
  const auto q = sample.Quantiles(std::array<double, 4>{0, 0.5, 0.9, 1});
  EXPECT_DOUBLE_EQ(q[0].value, 1);
  EXPECT_DOUBLE_EQ(q[1].value, 3.5);  // between 3 and 4
  EXPECT_DOUBLE_EQ(q[2].value, 7.5);  // position 4.5: between 5 and 10
  EXPECT_DOUBLE_EQ(q[3].value, 10);
  EXPECT_EQ(sample.Max(), 10);
}

TEST(ClusteredSample, BootstrapDrawsWholeWindows) {
  // Within a window all values are equal, so a resample of two windows has the median 0, 0.5 or 1
  // with probabilities 1/4, 1/2, 1/4: standard deviation sqrt(1/8). With 200 replicates the
  // estimate of a standard deviation s is within 4·s/sqrt(2·200) = 0.2·s of it.
  ClusteredSample sample;
  sample.AddWindow(std::array<double, 4>{0, 0, 0, 0});
  sample.AddWindow(std::array<double, 4>{1, 1, 1, 1});
  const Estimate median = sample.Quantiles(std::array<double, 1>{0.5})[0];
  EXPECT_DOUBLE_EQ(median.value, 0.5);
  EXPECT_NEAR(median.standard_error, std::sqrt(0.125), 0.2 * std::sqrt(0.125));
}

TEST(ClusteredSample, OneWindowHasNoErrorAndNanHasNoQuantile) {
  ClusteredSample sample;
  sample.AddWindow(std::array<double, 2>{1, 3});
  EXPECT_EQ(sample.Quantiles(std::array<double, 1>{0.5})[0].value, 2);
  EXPECT_TRUE(std::isnan(sample.Quantiles(std::array<double, 1>{0.5})[0].standard_error));
  sample.AddWindow(std::array<double, 1>{std::numeric_limits<double>::quiet_NaN()});
  EXPECT_TRUE(std::isnan(sample.Quantiles(std::array<double, 1>{0.5})[0].value));
  EXPECT_TRUE(std::isnan(sample.Max()));
}

TEST(ClusteredSample, InfiniteValuesDoNotBecomeNan) {
  const double inf = std::numeric_limits<double>::infinity();
  ClusteredSample sample;
  sample.AddWindow(std::array<double, 3>{1, inf, inf});
  const auto q = sample.Quantiles(std::array<double, 2>{0.5, 0.75});
  EXPECT_EQ(q[0].value, inf);
  EXPECT_EQ(q[1].value, inf);
}

}  // namespace
}  // namespace qualm
