#include "analysis/distributions.h"

#include <gtest/gtest.h>

#include <cmath>

namespace qualm {
namespace {

TEST(Distributions, IncompleteBetaHasItsClosedForms) {
  for (double x : {0.01, 0.2, 0.5, 0.77, 0.999}) {
    EXPECT_NEAR(IncompleteBeta(1, 1, x), x, 1e-14);
    EXPECT_NEAR(IncompleteBeta(2, 1, x), x * x, 1e-14);
    EXPECT_NEAR(IncompleteBeta(1, 5, x), 1 - std::pow(1 - x, 5), 1e-13);
    // arcsine law
    EXPECT_NEAR(IncompleteBeta(0.5, 0.5, x), 2 / M_PI * std::asin(std::sqrt(x)), 1e-12);
    EXPECT_NEAR(IncompleteBeta(3.3, 40.1, x), 1 - IncompleteBeta(40.1, 3.3, 1 - x), 1e-12);
  }
  EXPECT_EQ(IncompleteBeta(3, 4, 0), 0);
  EXPECT_EQ(IncompleteBeta(3, 4, 1), 1);
}

TEST(Distributions, StudentHasItsClosedForms) {
  for (double t : {-3.0, -0.4, 0.1, 1.0, 12.0}) {
    EXPECT_NEAR(StudentCdf(t, 1), 0.5 + std::atan(t) / M_PI, 1e-12);  // Cauchy
    EXPECT_NEAR(StudentCdf(t, 2), 0.5 + t / (2 * std::sqrt(2 + t * t)), 1e-12);
  }
  // With many degrees of freedom the normal distribution: Φ(1.959963985) = 0.975, up to
  // (t³ + t)φ(t)/(4 df) = 1.4e-7.
  EXPECT_NEAR(StudentCdf(1.959963984540054, 1e6), 0.975, 3e-7);
}

TEST(Distributions, StudentQuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(StudentQuantile(0.975, 1), 12.7062047, 1e-6);
  EXPECT_NEAR(StudentQuantile(0.975, 2), 4.30265273, 1e-7);
  EXPECT_NEAR(StudentQuantile(0.975, 10), 2.22813885, 1e-7);
  EXPECT_NEAR(StudentQuantile(0.8, 5), 0.919543781, 1e-7);
  EXPECT_NEAR(StudentQuantile(0.025, 30), -2.04227246, 1e-7);
  EXPECT_NEAR(StudentTwoSided(2.22813885, 10), 0.05, 1e-8);
  EXPECT_TRUE(std::isnan(StudentTwoSided(NAN, 3)));
}

TEST(Distributions, ExactIntervalsOfShares) {
  const ShareInterval none = ExactShareInterval(0, 10, 0.95);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 1 - std::pow(0.025, 0.1), 1e-10);  // closed form for k = 0
  const ShareInterval all = ExactShareInterval(10, 10, 0.95);
  EXPECT_NEAR(all.low, std::pow(0.025, 0.1), 1e-10);
  EXPECT_EQ(all.high, 1);
  // Clopper and Pearson 1934, also in every textbook: 1 of 20.
  EXPECT_NEAR(ExactShareInterval(1, 20, 0.95).low, 0.001265, 1e-6);
  EXPECT_NEAR(ExactShareInterval(1, 20, 0.95).high, 0.248733, 1e-6);
  EXPECT_EQ(ExactShareInterval(0, 0, 0.95).high, 1);
}

}  // namespace
}  // namespace qualm
