#include "methods/activation_range.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "support/test_context.h"

namespace qualm {
namespace {

// One range for the whole tensor, found in calibration.
ActivationPlan StaticPlan(int bits, RangeChoice range = RangeChoice::kMinMax) {
  ActivationPlan plan{DefaultActivationScheme()};
  plan.scheme.bits = bits;
  plan.scheme.granularity = Granularity::kTensor;
  plan.scheme.dynamic = false;
  plan.range = range;
  return plan;
}

// 0, 1, ..., 999 with changing signs, and one outlier.
Matrix Ramp() {
  Matrix x(10, 100);
  for (size_t i = 0; i < 1000; ++i) {
    x(i / 100, i % 100) = static_cast<float>(i) * (i % 2 == 0 ? 1.0f : -1.0f);
  }
  return x;
}

TEST(FitActivations, DynamicSchemesNeedNoData) {
  const ActivationGrid grid = FitActivations({DefaultActivationScheme()}, {}, {}, {});
  EXPECT_TRUE(grid.scheme.dynamic);
}

TEST(FitActivations, MinMaxTakesWhatWasSeenOverAllTokens) {
  const Matrix x = Ramp();
  const ActivationPlan plan = StaticPlan(8);
  EXPECT_FLOAT_EQ(FitActivations(plan, x, {}, {}).point.scale, 999.0f / 127);
  const std::vector<float> min = {-5, -2000}, max = {7, 3};
  EXPECT_FLOAT_EQ(FitActivations(plan, x, min, max).point.scale, 2000.0f / 127);
}

TEST(FitActivations, PercentileCutsTheTail) {
  const Matrix x = Ramp();
  ActivationPlan symmetric = StaticPlan(8, RangeChoice::kPercentile);
  symmetric.percentile = 90;
  // 900 of the magnitudes 0..999 are not above 899.
  EXPECT_FLOAT_EQ(FitActivations(symmetric, x, {}, {}).point.scale, 899.0f / 127);
  ActivationPlan asymmetric = symmetric;
  asymmetric.scheme.zero_point = ZeroPointKind::kInteger;
  asymmetric.scheme.symmetric_convention = Scheme{}.symmetric_convention;
  const ActivationGrid grid = FitActivations(asymmetric, x, {}, {});
  // Even numbers are positive: 10 % of 1000 values above 798, 10 % at or below -801.
  EXPECT_FLOAT_EQ(grid.point.scale, (798.0f + 801.0f) / 255);
}

TEST(FitLayerActivations, FloatColumnsHaveNoPartInTheRange) {
  testing::TestContext context(1);
  Matrix x(3, 4);
  x(0, 1) = 100, x(1, 2) = -5, x(2, 3) = 4;
  QuantizedLinear layer;
  layer.in_features = 4;
  const ActivationPlan plan = StaticPlan(8);
  const std::vector<float> min = {0, 0, -5, 0}, max = {0, 100, 0, 4};
  EXPECT_FLOAT_EQ(FitLayerActivations(plan, layer, x, min, max, context).point.scale, 100.0f / 127);
  layer.float_columns = FloatColumns{{1}, {}};
  EXPECT_FLOAT_EQ(FitLayerActivations(plan, layer, x, min, max, context).point.scale, 5.0f / 127);
  EXPECT_FLOAT_EQ(FitLayerActivations(plan, layer, x, {}, {}, context).point.scale, 5.0f / 127);
}

TEST(FitLayerActivations, SeesWhatTheLayersTransformsMakeOfItsInputs) {
  testing::TestContext context(1);
  Matrix x(1, 2);
  x(0, 0) = 8, x(0, 1) = 3;
  QuantizedLinear layer;
  layer.in_features = 2;
  OnlineTransform scale;
  scale.factors = {4, 1};
  layer.transforms = {scale};
  const std::vector<float> min = {0, 0}, max = {8, 3};
  EXPECT_FLOAT_EQ(FitLayerActivations(StaticPlan(8), layer, x, min, max, context).point.scale,
                  3.0f / 127);
}

// The best shrink factor of 80, by the definition, in double.
TEST(FitActivations, MseTakesTheShrunkenRangeWithTheSmallestError) {
  Rng rng(3);
  Matrix x(20, 50);
  for (size_t t = 0; t < 20; ++t) {
    for (float& v : x.row(t)) v = static_cast<float>(rng.Normal());
  }
  x(7, 7) = 12;
  const ActivationPlan plan = StaticPlan(4, RangeChoice::kMse);
  double best = INFINITY, best_scale = 0;
  for (int step = 0; step < 80; ++step) {
    const double scale = 12 * (1 - step / 100.0) / 7;
    double error = 0;
    for (size_t t = 0; t < 20; ++t) {
      for (float v : x.row(t)) {
        const double code = std::min(7.0, std::max(-7.0, std::nearbyint(v / scale)));
        error += (v - scale * code) * (v - scale * code);
      }
    }
    if (error < best) best = error, best_scale = scale;
  }
  ASSERT_LT(best_scale, 12.0 / 7);
  EXPECT_NEAR(FitActivations(plan, x, {}, {}).point.scale, best_scale, 1e-6 * best_scale);
}

}  // namespace
}  // namespace qualm
