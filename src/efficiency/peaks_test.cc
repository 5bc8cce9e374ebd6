#include "efficiency/peaks.h"

#include <gtest/gtest.h>

namespace qualm {
namespace {

TEST(SpreadOf, OddAndEvenNumbersOfValues) {
  const Spread odd = SpreadOf({5, 1, 3});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.lowest, 1);
  EXPECT_EQ(odd.highest, 5);
  EXPECT_EQ(odd.n, 3u);
  EXPECT_EQ(SpreadOf({8, 2, 4, 1}).median, 3);
  EXPECT_EQ(SpreadOf({7}).median, 7);
}

TEST(SpreadOf, NothingIsNothing) { EXPECT_EQ(SpreadOf({}).n, 0u); }

TEST(HardwareOf, HoldsTheBestOfWhatWasMeasuredAndNothingElse) {
  MachinePeaks peaks;
  peaks.read_bytes = {20e9, 10e9, 30e9, 9};
  peaks.register_flops = 200e9;
  peaks.float_product = {150e9, 140e9, 160e9, 9};
  peaks.integer_product = {500e9, 400e9, 600e9, 9};
  peaks.packed_read = {15e9, 14e9, 16e9, 9};
  const Hardware device = HardwareOf(peaks, "here", 1e9);
  EXPECT_EQ(device.name, "this");
  EXPECT_EQ(device.title, "here");
  EXPECT_EQ(device.bytes_per_second, 30e9);
  EXPECT_EQ(device.memory_bytes, 1e9);
  EXPECT_EQ(device.ops.fp32, 200e9);
  EXPECT_EQ(device.ops.int8, 600e9);
  EXPECT_EQ(device.ops.fp16, 0);
  EXPECT_EQ(device.ops.fp8, 0);
  EXPECT_EQ(device.ops.int4, 0);
}

TEST(HardwareOf, WithoutAMeasurementOfRegistersTheProductStandsIn) {
  MachinePeaks peaks;
  peaks.float_product = {150e9, 140e9, 160e9, 9};
  EXPECT_EQ(HardwareOf(peaks, "here", 1e9).ops.fp32, 160e9);
}

}  // namespace
}  // namespace qualm
