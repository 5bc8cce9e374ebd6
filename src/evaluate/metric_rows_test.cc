#include "evaluate/metric_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "data/overlap.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Names(const std::vector<MetricRow>& rows) {
  std::vector<std::string> names;
  for (const MetricRow& row : rows) names.push_back(row.metric);
  return names;
}

TEST(MetricRows, PerplexityAloneIsOneRowThatNamesItsProtocol) {
  TextScores scores;
  scores.name = "a.txt";
  scores.windows = 3;
  scores.targets = 27;
  scores.ppl = {5.5, 0.25};
  const auto rows = MetricRows(scores, FindProtocol("mi-optimize"), 10);
  ASSERT_THAT(Names(rows), ElementsAre("ppl"));
  EXPECT_EQ(rows[0].corpus, "a.txt");
  EXPECT_EQ(rows[0].estimate.value, 5.5);
  EXPECT_EQ(rows[0].estimate.standard_error, 0.25);
  EXPECT_EQ(rows[0].windows, 3u);
  EXPECT_EQ(rows[0].targets, 27u);
  EXPECT_EQ(rows[0].protocol, "mi-optimize");
  EXPECT_EQ(rows[0].protocol_version, 1);
  EXPECT_EQ(rows[0].seqlen, 10u);
}

TEST(MetricRows, EachMetricCarriesItsOwnEstimate) {
  TextScores scores;
  scores.ppl = {1, 0};
  scores.reference_ppl = {2, 0};
  scores.comparison = Comparison{.kl_mean = {4, 0},
                                 .kl_median = {5, 0},
                                 .kl_p99 = {6, 0},
                                 .kl_p999 = {7, 0},
                                 .kl_max = {8, 0},
                                 .top1_agreement = {9, 0},
                                 .rms_delta_p = {10, 0},
                                 .delta_log_ppl = {3, 0}};
  scores.noise_floor.emplace();
  scores.noise_floor->delta_log_ppl = {11, 0};
  scores.noise_floor->kl_mean = {12, 0};
  const auto rows = MetricRows(scores, FindProtocol("gptq"), 10);
  EXPECT_THAT(
      Names(rows),
      ElementsAre("ppl", "reference_ppl", "delta_log_ppl", "kl_mean", "kl_median", "kl_p99",
                  "kl_p999", "kl_max", "top1_agreement", "rms_delta_p", "noise_floor_delta_log_ppl",
                  "noise_floor_kl_mean", "noise_floor_kl_median", "noise_floor_kl_p99",
                  "noise_floor_kl_p999", "noise_floor_kl_max", "noise_floor_top1_agreement",
                  "noise_floor_rms_delta_p"));
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(rows[i].estimate.value, static_cast<double>(i + 1)) << rows[i].metric;
  }
}

TEST(OverlapRow, CountsInsideTheScoredWindowsOnly) {
  PerplexityText text;
  text.name = "a.txt";
  for (TokenId id = 0; id < 60; ++id) text.ids.push_back(id);
  text.windows = {{.begin = 0, .tokens = 20}, {.begin = 20, .tokens = 20}};  // 8 grams each
  const std::vector<std::vector<TokenId>> calibration = {
      {text.ids.begin() + 3, text.ids.begin() + 17},  // two grams of the first window
      {text.ids.begin() + 40, text.ids.end()}};       // beyond the windows
  const MetricRow row = OverlapRow(text, GramHashes(calibration), FindProtocol("gptq"), 20);
  EXPECT_EQ(row.metric, "calibration_overlap");
  EXPECT_EQ(row.estimate.value, 2.0 / 16);
  EXPECT_TRUE(std::isnan(row.estimate.standard_error));
  EXPECT_EQ(row.windows, 2u);
  EXPECT_EQ(row.targets, 16u);
}

}  // namespace
}  // namespace qualm
