#include "artefact/grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "tensor/dtype.h"

namespace qualm {
namespace {

Scheme Asymmetric(DType scale_type = DType::kF32) {
  Scheme scheme;
  scheme.scale_type = scale_type;
  return scheme;
}

Scheme Symmetric(SymmetricConvention convention) {
  Scheme scheme = Asymmetric();
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = convention;
  return scheme;
}

// Code and value of one number in lane 0.
struct Rounded {
  int code;
  float value;
};
Rounded RoundOne(const Grid& grid, GridPoint point, float value) {
  GridLanes lanes;
  lanes.scale.fill(point.scale);
  lanes.zero.fill(point.zero);
  std::vector<float> values(kPanelLanes, value), rounded(kPanelLanes);
  std::vector<uint8_t> codes(kPanelLanes);
  grid.QuantizeLanes(values.data(), lanes, codes.data(), rounded.data());
  EXPECT_EQ(codes.front(), codes.back());
  return {codes[0], rounded[0]};
}

TEST(Grid, AsymmetricRangeWithZeroByHand) {
  const Grid grid(Asymmetric(), 4);
  const GridPoint point = grid.Fit(-1.0f, 2.0f);
  EXPECT_EQ(point.scale, 3.0f / 15);
  EXPECT_EQ(point.zero, 5);
  EXPECT_EQ(RoundOne(grid, point, -1.0f).code, 0);
  EXPECT_EQ(RoundOne(grid, point, 2.0f).code, 15);
  EXPECT_EQ(RoundOne(grid, point, 0.0f).code, 5);
  EXPECT_EQ(RoundOne(grid, point, 0.31f).code, 7);
  EXPECT_EQ(RoundOne(grid, point, 100.0f).code, 15);
  EXPECT_EQ(RoundOne(grid, point, -100.0f).code, 0);
  EXPECT_EQ(RoundOne(grid, point, 2.0f).value, point.scale * 10);
}

TEST(Grid, ZeroIsPutIntoTheRangeOnlyIfTheSchemeSaysSo) {
  Scheme scheme = Asymmetric();
  EXPECT_EQ(Grid(scheme, 4).Fit(-3.0f, -1.0f).scale, 3.0f / 15);
  EXPECT_EQ(Grid(scheme, 4).Fit(-3.0f, -1.0f).zero, 15);
  EXPECT_EQ(Grid(scheme, 4).Fit(-3.0f, -0.01f).scale, 3.0f / 15);
  scheme.range_includes_zero = false;
  EXPECT_EQ(Grid(scheme, 4).Fit(-2.0f, 1.0f).scale, 3.0f / 15);
  // [-3, -0.1]: z = round(3/(2.9/15)) = round(15.5) leaves 0..15, so zero comes in after all.
  EXPECT_EQ(Grid(scheme, 4).Fit(-3.0f, -0.1f).scale, 3.0f / 15);
  // [-3, -0.01]: z = round(15.05) = 15 can be stored.
  EXPECT_EQ(Grid(scheme, 4).Fit(-3.0f, -0.01f).scale, (-0.01f + 3.0f) / 15);
  EXPECT_EQ(Grid(scheme, 4).Fit(-3.0f, -0.01f).zero, 15);
}

TEST(Grid, FloatZeroPointsKeepTheRangeAsItIs) {
  Scheme scheme = Asymmetric();
  scheme.zero_point = ZeroPointKind::kFloat;
  scheme.range_includes_zero = false;
  const Grid grid(scheme, 2);
  const GridPoint point = grid.Fit(1.0f, 2.5f);
  EXPECT_EQ(point.scale, 0.5f);
  EXPECT_EQ(point.zero, -2.0f);
  EXPECT_EQ(RoundOne(grid, point, 1.6f).code, 1);
  EXPECT_EQ(RoundOne(grid, point, 1.6f).value, 1.5f);
  // A fractional one: -min/s = 0.3/0.2 = 1.5, added before rounding: round(0.06/0.2 + 1.5) = 2.
  const GridPoint half = grid.Fit(-0.3f, 0.3f);
  EXPECT_FLOAT_EQ(half.zero, 1.5f);
  EXPECT_EQ(RoundOne(grid, half, 0.06f).code, 2);
}

TEST(Grid, FloatZeroPointsTooLargeForTheirTypeBringZeroIn) {
  Scheme scheme = Asymmetric(DType::kF16);
  scheme.zero_point = ZeroPointKind::kFloat;
  scheme.range_includes_zero = false;
  // -1000/(0.002/15) needs more than the 11 bits of a half.
  const GridPoint point = Grid(scheme, 4).Fit(999.999f, 1000.001f);
  EXPECT_EQ(point.zero, 0);
  EXPECT_NEAR(point.scale, 1000.0f / 15, 0x1p-5);  // half a unit of a float16 in 64..128
}

TEST(Grid, SymmetricConventionOfGptqMirrorsOnlyIfThereIsANegativeValue) {
  const Grid grid(Symmetric(SymmetricConvention::kGptq), 4);
  EXPECT_EQ(grid.Fit(-1.0f, 3.0f).scale, 6.0f / 15);
  EXPECT_EQ(grid.Fit(-3.0f, 1.0f).scale, 6.0f / 15);
  EXPECT_EQ(grid.Fit(1.0f, 3.0f).scale, 3.0f / 15);
  EXPECT_EQ(grid.Fit(-1.0f, 3.0f).zero, 8);
  EXPECT_EQ(RoundOne(grid, grid.Fit(-3.0f, 3.0f), -3.0f).code, 0);  // round(-7.5) + 8, even
  EXPECT_EQ(RoundOne(grid, grid.Fit(-3.0f, 3.0f), 3.0f).code, 15);
}

TEST(Grid, SymmetricConventionsByAbsmax) {
  const Grid mi(Symmetric(SymmetricConvention::kMiAbsmax), 4);
  EXPECT_EQ(mi.Fit(-1.0f, 3.5f).scale, 0.5f);
  EXPECT_EQ(RoundOne(mi, mi.Fit(-1.0f, 3.5f), 3.5f).code, 15);
  EXPECT_EQ(RoundOne(mi, mi.Fit(-1.0f, 3.5f), -9.0f).code, 0);
  const Grid is_signed(Symmetric(SymmetricConvention::kSigned), 4);
  EXPECT_EQ(is_signed.Fit(-3.5f, 0.0f).scale, 0.5f);
  EXPECT_EQ(RoundOne(is_signed, {0.5f, 8}, -9.0f).code, 1) << "code 0 is not used";
  EXPECT_EQ(Grid(Symmetric(SymmetricConvention::kMiAbsmax), 8).Fit(-1, 127).scale, 1.0f);
  EXPECT_EQ(Grid(Symmetric(SymmetricConvention::kSigned), 2).Fit(-1, 1).scale, 1.0f);
}

TEST(Grid, AGroupOfZerosHasScaleOne) {
  for (const Scheme& scheme : {Asymmetric(), Symmetric(SymmetricConvention::kGptq),
                               Symmetric(SymmetricConvention::kSigned)}) {
    const Grid grid(scheme, 3);
    const GridPoint point = grid.Fit(0.0f, 0.0f);
    EXPECT_EQ(point.scale, 1.0f);
    EXPECT_EQ(RoundOne(grid, point, 0.0f).value, 0.0f);
  }
}

TEST(Grid, AGroupOfEqualValuesIsExactAtTheEndOfTheRange) {
  for (bool includes_zero : {true, false}) {
    Scheme scheme = Asymmetric();
    scheme.range_includes_zero = includes_zero;
    const Grid grid(scheme, 4);
    for (float value : {5.0f, -5.0f}) {
      const GridPoint point = grid.Fit(value, value);
      EXPECT_FLOAT_EQ(RoundOne(grid, point, value).value, value);
    }
  }
}

TEST(Grid, TiesGoToTheEvenCode) {
  const Grid grid(Asymmetric(), 4);
  const GridPoint point{1.0f, 4};
  EXPECT_EQ(RoundOne(grid, point, 0.5f).code, 4);
  EXPECT_EQ(RoundOne(grid, point, 1.5f).code, 6);
  EXPECT_EQ(RoundOne(grid, point, -0.5f).code, 4);
  EXPECT_EQ(RoundOne(grid, point, -2.5f).code, 2);
  // The zero point is added after rounding: with an odd one, 0.5 + 3 is not a tie of its own.
  EXPECT_EQ(RoundOne(grid, {1.0f, 3}, 0.5f).code, 3);
}

TEST(Grid, ScalesAreStoredBeforeCodesAreChosen) {
  const Grid grid(Asymmetric(DType::kF16), 8);
  const GridPoint point = grid.Fit(-0.1f, 0.9f);
  EXPECT_EQ(point.scale, ToFloat(HalfFromFloat(1.0f / 255)));
  EXPECT_NE(point.scale, 1.0f / 255);
  EXPECT_EQ(point.zero, std::nearbyint(0.1f / point.scale));
  const Rounded rounded = RoundOne(grid, point, 0.77f);
  EXPECT_EQ(static_cast<float>(rounded.code), std::nearbyint(0.77f / point.scale) + point.zero);
}

TEST(Grid, ScalesNeitherUnderflowNorOverflow) {
  EXPECT_EQ(Grid(Asymmetric(DType::kF16), 4).Fit(-1e-9f, 1e-9f).scale, kSmallestNormalHalf);
  EXPECT_EQ(Grid(Asymmetric(DType::kF16), 4).Fit(-1e-9f, 1e-9f).zero, 0);
  EXPECT_EQ(Grid(Asymmetric(DType::kF16), 4).Fit(-1e30f, 1e30f).scale, kLargestHalf);
  EXPECT_EQ(Grid(Asymmetric(DType::kF16), 4).Fit(-1e30f, 1e30f).zero, 15);
  EXPECT_EQ(Grid(Asymmetric(DType::kBF16), 4).Fit(-1e-42f, 0).scale, 0x1p-126f);
  EXPECT_EQ(Grid(Asymmetric(DType::kF32), 4).Fit(-1e-42f, 0).scale, 0x1p-126f);
  const float largest = std::numeric_limits<float>::max();
  const GridPoint whole = Grid(Asymmetric(DType::kF32), 4).Fit(-largest, largest);
  EXPECT_TRUE(std::isfinite(whole.scale) && std::isfinite(whole.zero));
  EXPECT_TRUE(std::isfinite(Grid(Symmetric(SymmetricConvention::kGptq), 4).Fit(-1, largest).scale));
}

TEST(Grid, RoundingErrorIsAtMostHalfAStepInsideTheRange) {
  Rng rng(7);
  for (int bits = 2; bits <= 8; ++bits) {
    for (DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
      const Grid grid(Asymmetric(type), bits);
      for (int trial = 0; trial < 50; ++trial) {
        const float a = static_cast<float>(rng.Normal()), b = static_cast<float>(rng.Normal());
        const GridPoint point = grid.Fit(std::min(a, b), std::max(a, b));
        const float value = a + (b - a) * static_cast<float>(rng.Uniform());
        // Half a step by rounding the code, or at the ends by rounding z; there 2^bits - 1 steps of
        // the stored scale also miss the range by what rounding s to p significant bits costs
        // (2^-p relative) and a few float32 operations.
        const float steps = static_cast<float>(1 << bits);
        const float unit = type == DType::kF16 ? 0x1p-11f : type == DType::kBF16 ? 0x1p-8f : 0;
        EXPECT_LE(std::abs(RoundOne(grid, point, value).value - value),
                  point.scale * (0.5f + steps * (unit + 0x1p-22f)));
        EXPECT_GE(point.zero, 0);
        EXPECT_LT(point.zero, steps);
      }
    }
  }
}

// Lane 0 of FitLanes against the obvious loop in double.
TEST(Grid, MseClippingFindsTheBestOfAllShrinkFactors) {
  Rng rng(3);
  for (const Scheme& scheme :
       {Asymmetric(), Symmetric(SymmetricConvention::kGptq), Asymmetric(DType::kF16)}) {
    const Grid grid(scheme, 3);
    const size_t count = 200;
    std::vector<float> values(count * kPanelLanes);
    for (float& value : values) value = static_cast<float>(rng.Normal());
    values[5 * kPanelLanes] = 6;  // an outlier worth clipping
    GridLanes lanes;
    grid.FitLanes(values.data(), count, ClipSearch::kMse, lanes);
    float min = 0, max = 0;
    for (size_t i = 0; i < count; ++i) {
      min = std::min(min, values[i * kPanelLanes]);
      max = std::max(max, values[i * kPanelLanes]);
    }
    double best = std::numeric_limits<double>::infinity(), found = 0;
    for (int step = 0; step < kShrinkSteps; ++step) {
      const GridPoint point = grid.Fit(ShrinkFactor(step) * min, ShrinkFactor(step) * max);
      double error = 0;
      for (size_t i = 0; i < count; ++i) {
        const float value = values[i * kPanelLanes];
        error += std::pow(std::abs(RoundOne(grid, point, value).value - value), 2.4);
      }
      best = std::min(best, error);
      if (point.scale == lanes.scale[0] && point.zero == lanes.zero[0]) found = error;
    }
    // The chosen point is one of the candidates and as good as the best of them, up to the accuracy
    // of the power (2e-6) and of the sums.
    EXPECT_GT(found, 0);
    EXPECT_LE(found, best * (1 + 1e-5));
    EXPECT_NE(lanes.scale[0], grid.Fit(min, max).scale) << "the outlier was not clipped";
  }
}

TEST(Grid, ClipErrorsAreSumsOfThePower) {
  Rng rng(5);
  const Grid grid(Asymmetric(), 2);
  const size_t count = 333;
  std::vector<float> values(count * kPanelLanes);
  for (float& value : values) {
    value = static_cast<float>(rng.Normal() * std::pow(10.0, 8 * rng.Uniform() - 6));
  }
  GridLanes lanes;
  lanes.scale.fill(2.0f);
  lanes.zero.fill(1);
  std::array<float, kPanelLanes> unit;
  unit.fill(0.5f);
  std::array<double, kPanelLanes> errors{};
  grid.AddClipErrors(values.data(), count, lanes, unit, errors.data());
  for (size_t lane = 0; lane < kPanelLanes; ++lane) {
    double expected = 0;
    for (size_t i = 0; i < count; ++i) {
      const float value = values[i * kPanelLanes + lane];
      const float rounded = RoundOne(grid, {2.0f, 1}, value).value;
      expected += std::pow(std::abs(double{value - rounded}) * 0.5, 2.4);
    }
    EXPECT_NEAR(errors[lane], expected, expected * 1e-5);
  }
}

TEST(Grid, LanesDoNotMix) {
  const size_t count = 3;
  std::vector<float> values(count * kPanelLanes);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 20.0f;
  std::array<float, kPanelLanes> min, max;
  RangeOfLanes(values.data(), count, min.data(), max.data());
  for (size_t lane = 0; lane < kPanelLanes; ++lane) {
    EXPECT_EQ(min[lane], static_cast<float>(lane) - 20.0f);
    EXPECT_EQ(max[lane], static_cast<float>(lane + 2 * kPanelLanes) - 20.0f);
  }
}

}  // namespace
}  // namespace qualm
