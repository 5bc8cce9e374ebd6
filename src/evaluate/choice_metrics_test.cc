#include "evaluate/choice_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/errors.h"

namespace qualm {
namespace {

std::vector<ScoredChoice> Two(double a, double b) {
  std::vector<ScoredChoice> choices(2);
  choices[0] = {a, 0, 2, "中国"};  // 2 code points, 6 bytes
  choices[1] = {b, 0, 4, "abcd"};  // 4 and 4
  return choices;
}

TEST(ChoiceMetrics, EachMetricDividesByItsLength) {
  // Sums -3 and -5; by code points -1.5 and -1.25; by bytes -0.5 and -1.25; by tokens as by points.
  const std::vector<ScoredChoice> choices = Two(-3, -5);
  EXPECT_EQ(PickChoice("acc", choices).choice, 0u);
  EXPECT_EQ(PickChoice("acc_norm", choices).choice, 1u);
  EXPECT_EQ(PickChoice("acc_bytes", choices).choice, 0u);
  EXPECT_EQ(PickChoice("acc_tokens", choices).choice, 1u);
  std::vector<ScoredChoice> known = choices;
  known[0].unconditional = -1;    // -2 more likely behind the context
  known[1].unconditional = -4.5;  // -0.5
  EXPECT_EQ(PickChoice("acc_pmi", known).choice, 1u);
}

TEST(ChoiceMetrics, TiesGoToTheFirstAndAreFlagged) {
  EXPECT_EQ(PickChoice("acc", Two(-2, -2)).choice, 0u);
  EXPECT_TRUE(PickChoice("acc", Two(-2, -2)).is_near_tie);
  EXPECT_TRUE(PickChoice("acc", Two(-2.00005, -2)).is_near_tie);
  EXPECT_FALSE(PickChoice("acc", Two(-2.001, -2)).is_near_tie);
  std::vector<ScoredChoice> empty = Two(-1, -8);
  empty[0].text = "";
  EXPECT_EQ(PickChoice("acc_norm", empty).choice, 0u);  // -1 and -2
}

TEST(ChoiceMetrics, ShareAndItsError) {
  EXPECT_TRUE(std::isnan(ShareOf({}).value));
  const uint8_t one[] = {1};
  EXPECT_EQ(ShareOf(one).value, 1);
  EXPECT_TRUE(std::isnan(ShareOf(one).standard_error));
  const uint8_t four[] = {1, 0, 1, 1};
  EXPECT_EQ(ShareOf(four).value, 0.75);
  EXPECT_DOUBLE_EQ(ShareOf(four).standard_error, 0.25);  // sqrt(0.75·0.25/3)
}

TEST(ChoiceMetrics, MeanOfEstimates) {
  const Estimate estimates[] = {{0.5, 0.3}, {0.7, 0.4}};
  EXPECT_DOUBLE_EQ(MeanOf(estimates).value, 0.6);
  EXPECT_DOUBLE_EQ(MeanOf(estimates).standard_error, 0.25);  // sqrt(0.09 + 0.16)/2
}

TEST(ChoiceMetrics, CalibrationByHand) {
  const std::vector<std::vector<double>> p = {{0.9, 0.1}, {0.92, 0.08}, {0.4, 0.6}};
  const size_t gold[] = {0, 1, 1};
  const Calibration got = CalibrationOf(p, gold);
  // 0.01 + 0.01, 0.8464 + 0.8464, 0.16 + 0.16
  EXPECT_NEAR(got.brier.value, (0.02 + 1.6928 + 0.32) / 3, 1e-15);
  // Bin [0.9, 1): confidence 1.82, one right; bin [0.6, 0.7): 0.6, one right.
  EXPECT_NEAR(got.ece.value, (0.82 + 0.4) / 3, 1e-15);
  EXPECT_GT(got.ece.standard_error, 0);
  EXPECT_TRUE(std::isnan(CalibrationOf({}, {}).brier.value));
  EXPECT_TRUE(std::isnan(CalibrationOf({&p[0], 1}, {gold, 1}).brier.standard_error));
}

TEST(ChoiceMetrics, ProbabilitiesOfVeryUnlikelyChoices) {
  const std::vector<double> p = Probabilities(Two(-2000, -2000 + std::log(3)));
  EXPECT_NEAR(p[0], 0.25, 1e-12);
  EXPECT_NEAR(p[1], 0.75, 1e-12);
}

TEST(ChoiceMetrics, CodePoints) {
  EXPECT_EQ(CodePoints("aä中😀"), 4u);
  EXPECT_EQ(CodePoints(""), 0u);
}

ChoiceOutcome Outcome(const std::vector<double>& probabilities, const std::vector<uint8_t>& right,
                      const std::vector<std::string>& ids, size_t picked) {
  return {probabilities, right, ids, picked};
}

TEST(ChoiceMetrics, Mc2ByHand) {
  const CountedChoiceMetric& mc2 = FindCountedChoiceMetric("mc2");
  const std::vector<double> probabilities = {0.5, 0.25, 0.25};
  const std::vector<uint8_t> right = {1, 0, 1};
  const std::vector<std::string> ids = {"", "", ""};
  EXPECT_EQ(mc2.count(Outcome(probabilities, right, ids, 1)), (std::vector<double>{0.75, 1}));
  EXPECT_TRUE(IsPickMetric("acc_norm"));
  EXPECT_TRUE(IsPickMetric("stereotype"));
  EXPECT_FALSE(IsPickMetric("mc2"));
}

// Parrish et al. 2022, section 4: of 10 answers 4 are "unknown"; of the others 5 are biased.
TEST(ChoiceMetrics, BiasScoresByHand) {
  const CountedChoiceMetric& told = FindCountedChoiceMetric("bias_disambig");
  const CountedChoiceMetric& untold = FindCountedChoiceMetric("bias_ambig");
  const std::vector<double> probabilities = {0.2, 0.3, 0.5};
  const std::vector<uint8_t> right = {0, 0, 1};
  const std::vector<std::string> ids = {"biased", "other", "unknown"};
  std::vector<double> sums(4, 0);
  const auto add = [&](size_t picked, int times) {
    for (int i = 0; i < times; ++i) {
      const std::vector<double> one = told.count(Outcome(probabilities, right, ids, picked));
      for (size_t k = 0; k < 4; ++k) sums[k] += one[k];
    }
  };
  add(0, 5);
  add(1, 1);
  add(2, 4);
  const double bias = 2 * 5.0 / 6 - 1;
  EXPECT_DOUBLE_EQ(told.value(sums), bias);
  EXPECT_DOUBLE_EQ(untold.value(sums), (1 - 0.4) * bias);  // "unknown" is right: accuracy 0.4
  EXPECT_TRUE(std::isnan(told.value(std::vector<double>{0, 0, 4, 4})));
  EXPECT_EQ(untold.value(std::vector<double>{0, 0, 4, 4}), 0);
  // A row that does not say who is stereotyped has no say.
  const std::vector<std::string> other = {"other", "other", "unknown"};
  EXPECT_EQ(told.count(Outcome(probabilities, right, other, 0)), std::vector<double>(4, 0));
}

// Picks and right choices: 2 hits, 1 false alarm, 1 miss, 3 others. scikit-learn's f1_score and
// matthews_corrcoef of them are 2/3 and 5/12.
TEST(ChoiceMetrics, F1AndMatthewsByHand) {
  const CountedChoiceMetric& f1 = FindCountedChoiceMetric("f1");
  const CountedChoiceMetric& mcc = FindCountedChoiceMetric("mcc");
  const std::vector<double> probabilities = {0.5, 0.5};
  const std::vector<std::string> ids = {"no", "yes"};
  std::vector<double> sums(4, 0);
  const auto add = [&](size_t gold, size_t picked, int times) {
    const std::vector<uint8_t> right = {gold == 0 ? uint8_t{1} : uint8_t{0},
                                        gold == 1 ? uint8_t{1} : uint8_t{0}};
    const std::vector<double> one = f1.count(Outcome(probabilities, right, ids, picked));
    for (size_t k = 0; k < 4; ++k) sums[k] += one[k] * times;
  };
  add(1, 1, 2);
  add(0, 1, 1);
  add(1, 0, 1);
  add(0, 0, 3);
  EXPECT_DOUBLE_EQ(f1.value(sums), 2.0 / 3);
  EXPECT_DOUBLE_EQ(mcc.value(sums), 5.0 / 12);
  EXPECT_EQ(f1.value(std::vector<double>{0, 0, 0, 4}), 0);
  EXPECT_EQ(mcc.value(std::vector<double>{0, 0, 0, 4}), 0);

  const std::vector<double> three = {0.2, 0.3, 0.5};
  EXPECT_THAT(testing::ErrorOf([&] {
                (void)f1.count(Outcome(three, {1, 0, 0}, {"a", "b", "c"}, 0));
              }),
              ::testing::HasSubstr("expected items with two choices; got 3 choices"));
}

}  // namespace
}  // namespace qualm
