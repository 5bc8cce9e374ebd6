#include "judge/measured_speed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"

namespace qualm {
namespace {

TEST(MeasuredSpeed, ComesBackAsItWas) {
  SpeedResult speed;
  speed.load_seconds = {0.5, 0.25, 1, 3};
  speed.weight_bytes = 7;
  speed.steady_memory_bytes = 8;
  speed.peak_memory_bytes = 9;
  speed.points.push_back({128, 1, {10, 9, 11, 5}, {3, 2, 4, 5}, {}});
  const SpeedResult found = SpeedOf(TextOf(speed), "store");
  EXPECT_EQ(TextOf(found), TextOf(speed));
  EXPECT_EQ(found.points.at(0).decode.lowest, 2);
  EXPECT_EQ(found.points.at(0).context, 128U);
  EXPECT_EQ(found.load_seconds.n, 3U);
  EXPECT_EQ(found.peak_memory_bytes, 9U);
}

TEST(MeasuredSpeed, DamagedTextsAreRefused) {
  EXPECT_THAT(testing::ErrorOf([] { (void)SpeedOf("{}", "store"); }),
              ::testing::HasSubstr("load_seconds"));
  EXPECT_THAT(testing::ErrorOf([] { (void)SpeedOf("{", "store"); }), ::testing::HasSubstr("store"));
}

}  // namespace
}  // namespace qualm
