#include "tensor/vector_ops.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "tensor/isa.h"
#include "tensor/reference/ops_reference.h"

namespace qualm {
namespace {

class VectorOpsTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { ASSERT_TRUE(SetInstructionSet(GetParam())); }
  void TearDown() override { SetInstructionSet(AvailableInstructionSets().back()); }
};

INSTANTIATE_TEST_SUITE_P(Isa, VectorOpsTest, ::testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& of) { return std::string(of.param); });

constexpr Activation kActivations[] = {Activation::kSilu, Activation::kGeluTanh,
                                       Activation::kGeluErf, Activation::kRelu, Activation::kRelu2};
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kSmallest = std::numeric_limits<float>::denorm_min();

// Arguments from where all activations vanish to where they are linear or quadratic, and around 0.
std::vector<float> Arguments() {
  std::vector<float> x = {0.0f,    -0.0f, kSmallest, -kSmallest, 1e-30f,
                          -1e-30f, -1e4f, -1e18f,    1e18f};
  for (float v = -120; v <= 120; v += 0.0137f) x.push_back(v);
  return x;
}

float ActivationOf(Activation activation, float x) {
  ActivateValues(activation, &x, nullptr, 1);
  return x;
}

TEST_P(VectorOpsTest, ExpIsWithinTwoUlpAndVanishesBelow) {
  std::vector<float> x;
  for (float v = -87; v <= 0; v += 0.00137f) x.push_back(v);
  std::vector<float> y = x;
  float sum = ExpShifted(y.data(), y.size(), 0);
  double exact_sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    double exact = std::exp(static_cast<double>(x[i]));
    exact_sum += exact;
    ASSERT_NEAR(y[i], exact, exact * 2 * 0x1.0p-23) << x[i];
  }
  EXPECT_NEAR(sum, exact_sum, exact_sum * static_cast<double>(x.size()) * 0x1.0p-24);
  std::vector<float> low = {-INFINITY, -200, 0};
  ExpShifted(low.data(), 3, 0);
  EXPECT_THAT(low, ::testing::ElementsAre(0.0f, 0.0f, 1.0f));
}

TEST_P(VectorOpsTest, ActivationsFollowTheirDefinitionsOverTheWholeRange) {
  for (Activation activation : kActivations) {
    std::vector<float> x = Arguments(), got = x;
    ActivateValues(activation, got.data(), nullptr, got.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = reference::ActivationOf(activation, x[i]);
      // silu: exp within 2 ulp, three more roundings, and the limit exp(87) of its denominator. The
      // others are computed in double, or with one operation, and rounded once (1/2 ulp is 2^-24).
      // Results below the normal numbers are rounded to a multiple of the smallest.
      const double relative = activation == Activation::kSilu
                                  ? std::abs(exact) * 5 * 0x1.0p-23 + std::abs(x[i]) * 2e-38
                                  : std::abs(exact) * 1.01 * 0x1.0p-24;
      const double bound = relative + double{kSmallest};
      ASSERT_NEAR(got[i], exact, bound) << static_cast<int>(activation) << " of " << x[i];
    }
  }
}

TEST_P(VectorOpsTest, GeluTanhIsThePublishedFormula) {
  // The reference uses another form of it. This one cancels for negative x: 1 + tanh loses up to
  // 2^-53 of 1.
  for (float x : {-3.0f, -1.0f, -0.1f, 0.5f, 2.0f, 6.0f}) {
    const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * std::pow(double{x}, 3));
    const double exact = 0.5 * x * (1 + std::tanh(u));
    const double bound = std::abs(exact) * 1.01 * 0x1.0p-24 + std::abs(x) * 0x1.0p-52;
    EXPECT_NEAR(ActivationOf(Activation::kGeluTanh, x), exact, bound) << x;
  }
}

TEST_P(VectorOpsTest, ActivationsByHand) {
  EXPECT_FLOAT_EQ(ActivationOf(Activation::kSilu, std::log(3.0f)), 0.75f * std::log(3.0f));
  EXPECT_FLOAT_EQ(ActivationOf(Activation::kGeluErf, 1), 0.8413447f);     // Φ(1)
  EXPECT_FLOAT_EQ(ActivationOf(Activation::kGeluErf, -2), -0.04550026f);  // -2·Φ(-2)
  EXPECT_FLOAT_EQ(ActivationOf(Activation::kGeluTanh, 1), 0.8411920f);
  EXPECT_EQ(ActivationOf(Activation::kRelu, 3), 3);
  EXPECT_EQ(ActivationOf(Activation::kRelu, -3), 0);
  EXPECT_EQ(ActivationOf(Activation::kRelu2, 3), 9);
  EXPECT_EQ(ActivationOf(Activation::kRelu2, -3), 0);
}

TEST_P(VectorOpsTest, ActivationsOfTheLargestNumbersNeitherOverflowNorHideNaN) {
  for (Activation activation : kActivations) {
    SCOPED_TRACE(static_cast<int>(activation));
    const bool squares = activation == Activation::kRelu2;
    EXPECT_EQ(ActivationOf(activation, kLargest), squares ? INFINITY : kLargest);
    EXPECT_EQ(ActivationOf(activation, INFINITY), INFINITY);
    EXPECT_TRUE(std::isnan(ActivationOf(activation, NAN)));
    const float of_minus_infinity = ActivationOf(activation, -INFINITY);
    if (activation == Activation::kRelu || squares) {
      EXPECT_EQ(of_minus_infinity, 0);
    } else {
      EXPECT_FALSE(std::isfinite(of_minus_infinity));
    }
    // silu is not 0 there: its denominator stops at exp(87).
    if (activation == Activation::kSilu) continue;
    EXPECT_EQ(ActivationOf(activation, -kLargest), 0);
  }
}

TEST_P(VectorOpsTest, AResultDoesNotDependOnItsPlaceOrTheInstructionSet) {
  const std::vector<float> x = Arguments();
  for (Activation activation : kActivations) {
    for (size_t first = 0; first + 33 < x.size(); first += 501) {
      for (size_t count : {1u, 7u, 8u, 16u, 33u}) {
        std::vector<float> got(&x[first], &x[first] + count);
        ActivateValues(activation, got.data(), nullptr, count);
        SetInstructionSet(AvailableInstructionSets().back());
        for (size_t i = 0; i < count; ++i) {
          const float alone = ActivationOf(activation, x[first + i]);
          ASSERT_EQ(std::memcmp(&got[i], &alone, sizeof(float)), 0) << x[first + i];
        }
        SetInstructionSet(GetParam());
      }
    }
  }
}

TEST_P(VectorOpsTest, FactorsMultiplyTheRoundedActivation) {
  for (Activation activation : kActivations) {
    for (size_t count : {0u, 1u, 7u, 8u, 33u}) {
      std::vector<float> x, factors;
      for (size_t i = 0; i < count; ++i) {
        x.push_back(-5 + 0.37f * static_cast<float>(i));
        factors.push_back(1.7f - 0.3f * static_cast<float>(i));
      }
      std::vector<float> got = x;
      ActivateValues(activation, got.data(), factors.data(), count);
      for (size_t i = 0; i < count; ++i) {
        EXPECT_EQ(got[i], ActivationOf(activation, x[i]) * factors[i]) << x[i];
      }
    }
  }
}

TEST_P(VectorOpsTest, SoftCapFollowsItsDefinitionAndStaysWithinTheCap) {
  for (float cap : {0.5f, 30.0f}) {
    std::vector<float> x = Arguments(), got = x;
    SoftCapValues(got.data(), got.size(), cap);
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = cap * std::tanh(double{x[i]} / cap);
      // A quotient, tanh within 4 ulp, a product. Relative to x, tanh only damps the quotient's
      // error. Near 0, x/cap is below the normal numbers.
      ASSERT_NEAR(got[i], exact, std::abs(exact) * 5 * 0x1.0p-23 + cap * double{kSmallest})
          << x[i] << " capped at " << cap;
      ASSERT_LE(std::abs(got[i]), cap);
    }
  }
}

TEST_P(VectorOpsTest, SoftCapOfInfinityIsTheCapAndNaNStays) {
  std::vector<float> x = {INFINITY, -INFINITY, kLargest, -kLargest, NAN};
  SoftCapValues(x.data(), x.size(), 30);
  EXPECT_EQ(x[0], 30);
  EXPECT_EQ(x[1], -30);
  EXPECT_EQ(x[2], 30);
  EXPECT_EQ(x[3], -30);
  EXPECT_TRUE(std::isnan(x[4]));
}

}  // namespace
}  // namespace qualm
