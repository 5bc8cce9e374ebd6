#include "efficiency/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <vector>

#include "efficiency/energy.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::AllOf;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::SourceRoot;

SpeedResult Measure(const SpeedOptions& options) {
  testing::TestContext context(2);
  return MeasureSpeed(SourceRoot() / "demo/model", options, context);
}

TEST(MeasureSpeed, EveryContextTimesEveryBatchInOrder) {
  SpeedOptions options;
  options.contexts = {4, 8};
  options.batches = {1, 3};
  options.gen = 2;
  options.repetitions = 3;
  const SpeedResult result = Measure(options);
  ASSERT_EQ(result.points.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const SpeedPoint& point = result.points[i];
    EXPECT_EQ(point.context, options.contexts[i / 2]);
    EXPECT_EQ(point.batch, options.batches[i % 2]);
    for (const Spread& spread : {point.prefill, point.decode}) {
      EXPECT_EQ(spread.n, 3u);
      EXPECT_GT(spread.lowest, 0);
      EXPECT_LE(spread.lowest, spread.median);
      EXPECT_LE(spread.median, spread.highest);
    }
    if (!EnergyMeter().is_there()) {
      EXPECT_FALSE(point.joules_per_token);
    }
  }
}

// 4 blocks of 7 layers: q and o [256, 256], k and v [128, 256], gate, up and down [640, 256] in
// bfloat16, 5.25 MiB, and the head [6000, 256].
TEST(MeasureSpeed, TellsLoadTimeBytesFormatsAndMemory) {
  SpeedOptions options;
  options.prompt = 4;
  options.gen = 1;
  options.repetitions = 1;
  const SpeedResult result = Measure(options);
  EXPECT_EQ(result.points.front().context, 4u);
  EXPECT_EQ(result.load_seconds.n, 3u);
  EXPECT_GT(result.load_seconds.lowest, 0);
  ASSERT_EQ(result.formats.size(), 1u);
  EXPECT_EQ(result.formats[0].layers, 28u);
  EXPECT_EQ(result.formats[0].bytes, 2u * 4 * 256 * (2 * 256 + 2 * 128 + 3 * 640));
  EXPECT_FALSE(result.formats[0].is_dequantized);
  EXPECT_EQ(result.weight_bytes, result.formats[0].bytes + 2u * 6000 * 256);
  EXPECT_GT(result.steady_memory_bytes, result.weight_bytes);
  EXPECT_GE(result.peak_memory_bytes, result.steady_memory_bytes);
}

TEST(MeasureSpeed, ThePeakIsOfTheMeasurementNotOfWhatWasBefore) {
  constexpr size_t kBefore = size_t{512} << 20;
  {
    std::ofstream mark("/proc/self/clear_refs");
    if (!(mark << "5" << std::flush)) GTEST_SKIP() << "the mark cannot be reset here";
    const std::vector<char> before(kBefore, 1);
    ASSERT_EQ(before.back(), 1);
  }
  SpeedOptions options;
  options.prompt = 4;
  options.gen = 1;
  options.repetitions = 1;
  EXPECT_LT(Measure(options).peak_memory_bytes, kBefore);
}

TEST(MeasureSpeed, ContextsThatTheModelDoesNotHaveAreBadInput) {
  SpeedOptions options;
  options.gen = 10;
  options.repetitions = 1;
  const auto error = [&](size_t context) {
    options.contexts = {4, context};
    return ErrorOf([&] { Measure(options); });
  };
  EXPECT_THAT(error(2039), AllOf(HasSubstr("at most 2048 together"), HasSubstr("2039 and 10")));
  EXPECT_THAT(error(SIZE_MAX), HasSubstr("at most 2048 together"));
}

}  // namespace
}  // namespace qualm
