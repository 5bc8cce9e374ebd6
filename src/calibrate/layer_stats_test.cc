#include "calibrate/layer_stats.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "support/test_context.h"

namespace qualm {
namespace {

Matrix RandomRows(size_t rows, size_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix x(rows, cols);
  for (size_t r = 0; r < rows; ++r) {
    for (float& v : x.row(r)) v = static_cast<float>(rng.Normal());
  }
  return x;
}

LayerStats Collect(const Matrix& x, const CollectorOptions& options, size_t rows_per_call) {
  testing::TestContext context(2);
  Collector collector(x.cols(), x.rows(), options);
  for (size_t first = 0; first < x.rows(); first += rows_per_call) {
    collector.Add(x.view().Rows(first, std::min(rows_per_call, x.rows() - first)), context);
  }
  return collector.Take();
}

TEST(CollectorTest, CountsByHand) {
  Matrix x(2, 2);
  x(0, 0) = 1, x(0, 1) = -4;
  x(1, 0) = -3, x(1, 1) = 2;
  LayerStats stats =
      Collect(x, {.gram = true, .gram64 = true, .channel_statistics = true, .sample_rows = 2}, 2);
  EXPECT_EQ(stats.tokens, 2u);
  EXPECT_THAT(stats.min, ::testing::ElementsAre(-3.0f, -4.0f));
  EXPECT_THAT(stats.max, ::testing::ElementsAre(1.0f, 2.0f));
  EXPECT_THAT(stats.abs_mean, ::testing::ElementsAre(2.0, 3.0));
  EXPECT_EQ(stats.gram(0, 0), 10.0f);
  EXPECT_EQ(stats.gram(0, 1), -10.0f);
  EXPECT_EQ(stats.gram(1, 0), -10.0f);
  EXPECT_EQ(stats.gram(1, 1), 20.0f);
  EXPECT_THAT(stats.gram64, ::testing::ElementsAre(10.0, -10.0, -10.0, 20.0));
  EXPECT_EQ(stats.sample(1, 0), -3.0f);
}

TEST(CollectorTest, SampleDoesNotDependOnHowTheRowsArrive) {
  Matrix x = RandomRows(101, 5, 1);
  LayerStats whole = Collect(x, {.sample_rows = 17}, 101);
  LayerStats pieces = Collect(x, {.sample_rows = 17}, 8);
  ASSERT_EQ(whole.sample.rows(), 17u);
  for (size_t r = 0; r < 17; ++r) {
    EXPECT_THAT(pieces.sample.row(r), ::testing::ElementsAreArray(whole.sample.row(r)));
  }
}

TEST(CollectorTest, SampleIsSpreadOverAllTokens) {
  Matrix x(100, 1);
  for (size_t r = 0; r < 100; ++r) x(r, 0) = static_cast<float>(r);
  LayerStats stats = Collect(x, {.sample_rows = 10}, 33);
  for (size_t r = 0; r < 10; ++r) EXPECT_EQ(stats.sample(r, 0), static_cast<float>(10 * r + 9));
}

TEST(CollectorTest, FewerTokensThanSampleRowsGiveAllTokens) {
  LayerStats stats = Collect(RandomRows(3, 2, 2), {.sample_rows = 10}, 2);
  EXPECT_EQ(stats.sample.rows(), 3u);
}

TEST(CollectorTest, NanAndInfinityAreErrors) {
  for (float bad : {NAN, INFINITY}) {
    Matrix x = RandomRows(4, 3, 3);
    x(2, 1) = bad;
    EXPECT_THROW(Collect(x, {.gram = true}, 4), Error);
  }
}

}  // namespace
}  // namespace qualm
