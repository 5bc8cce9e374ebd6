#include "analysis/study_analysis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "support/test_context.h"

namespace qualm {
namespace {

// One recipe on two tests, calibrated on either's kind, at random, and on the first again. The
// excess loss is `near` where calibration and test are of one kind and `far` elsewhere, with noise
// of seeds and of clusters that all conditions share but for a part of their own.
class MadeUpStudy : public ::testing::Test {
 protected:
  void Fill(double near, double far, double noise) {
    plan_.spec.name = "made-up";
    plan_.spec.models = {"m"};
    for (const char* name : {"a", "b"}) {
      TestSpec test;
      test.name = name;
      test.about.task = "kind";
      plan_.spec.tests.push_back(test);
    }
    for (const char* name : {"a", "b", "random", "a-again"}) {
      CalibrationSpec set;
      set.name = name;
      if (set.name == "a-again") set.again = "a";
      plan_.spec.calibrations.push_back(set);
    }
    table_.plan = &plan_;
    for (const TestSpec& test : plan_.spec.tests) {
      Add("float", "-", test.name, Relation::kNone, 0, 0);
      for (const CalibrationSpec& set : plan_.spec.calibrations) {
        const std::string& kind = set.again.empty() ? set.name : set.again;
        const Relation relation = kind == "random"    ? Relation::kControl
                                  : kind == test.name ? Relation::kIid
                                                      : Relation::kCrossLanguage;
        Add("r", set.name, test.name, relation, kind == test.name ? near : far, noise);
      }
    }
  }

  void Add(const std::string& recipe, const std::string& calibration, const std::string& test,
           Relation relation, double excess, double noise) {
    Cell cell;
    cell.model = "m";
    cell.recipe = recipe;
    cell.calibration = calibration;
    cell.test = test;
    cell.relation = relation;
    cell.is_text = true;
    cell.bits = recipe == "float" ? NAN : 3;
    cell.loss = cell.excess = LossTable(std::vector<double>(30, 1));
    Rng rng(0, StrCat(calibration, " ", test));
    for (int seed = 0; seed < 3; ++seed) {
      const double own = noise * rng.Normal();
      std::vector<double> sums;
      for (int c = 0; c < 30; ++c) sums.push_back(excess + own + noise * rng.Normal());
      cell.loss.AddSeed(std::vector<double>(30, 3));
      cell.excess.AddSeed(sums);
      cell.scores.push_back(1);
    }
    table_.cells.push_back(std::move(cell));
  }

  StudyAnalysis Analyse() {
    testing::TestContext context(2);
    return AnalyseStudy(table_, context);
  }

  StudyPlan plan_;
  StudyTable table_;
};

TEST_F(MadeUpStudy, AGapIsFoundWithItsSize) {
  Fill(0.1, 0.4, 0.02);
  const StudyAnalysis analysis = Analyse();
  ASSERT_EQ(analysis.gaps.size(), 2U);  // other language, control
  EXPECT_EQ(analysis.gaps[0].relation, Relation::kCrossLanguage);
  EXPECT_EQ(analysis.gaps[0].tests, 2U);
  EXPECT_NEAR(analysis.gaps[0].gap.value, 0.3, 0.05);  // seeds: 0.02·sqrt(2/3)/sqrt(2) = 0.012
  EXPECT_LT(analysis.gaps[0].p_holm, 0.05);
  ASSERT_EQ(analysis.families.size(), 1U);
  EXPECT_EQ(analysis.families[0].family, "kind");
  EXPECT_DOUBLE_EQ(analysis.families[0].difference.value, analysis.gaps[0].gap.value);
  // On each test the other kind and the random set against IID, not the twin.
  ASSERT_EQ(analysis.comparisons.size(), 4U);
  for (const CalibrationComparison& one : analysis.comparisons) {
    EXPECT_NE(one.calibration, "a-again");
    EXPECT_EQ(one.iid, one.test);
    EXPECT_GT(one.difference.value, 0.2);
  }
}

TEST_F(MadeUpStudy, WithoutADifferenceNoneIsSaid) {
  Fill(0.2, 0.2, 0.05);
  const StudyAnalysis analysis = Analyse();
  EXPECT_GT(analysis.families[0].p_holm, 0.05);
  EXPECT_EQ(analysis.false_alarms.comparisons, 2U);  // the twin on both tests
  EXPECT_EQ(analysis.false_alarms.splits, 2 * 10U);  // C(6,3)/2 of each
  ASSERT_EQ(analysis.guidance.size(), 1U);
  EXPECT_FALSE(analysis.guidance[0].is_decided);
  EXPECT_EQ(analysis.guidance[0].unit, "nats");
  double sum = 0;
  for (const Candidate& one : analysis.guidance[0].candidates) sum += one.probability_best;
  EXPECT_NEAR(sum, 1, 1e-9);
}

TEST_F(MadeUpStudy, GuidanceTakesTheBestUnderABudget) {
  Fill(0.1, 0.4, 0.01);
  for (const char* test : {"a", "b"}) Add("better", "-", test, Relation::kNone, 0.01, 0.001);
  for (Cell& cell : table_.cells) {
    if (cell.recipe == "better") cell.bits = 4;
  }
  plan_.spec.budgets = {{3.5, 0}, {0, 10}};
  const StudyAnalysis analysis = Analyse();
  ASSERT_EQ(analysis.guidance.size(), 3U);
  EXPECT_EQ(analysis.guidance[0].candidates[0].recipe, "better");
  EXPECT_TRUE(analysis.guidance[0].is_decided);
  EXPECT_GT(analysis.guidance[0].candidates[0].probability_best, 0.99);
  EXPECT_EQ(analysis.guidance[0].candidates.size(), 4U);  // the twin is no candidate
  EXPECT_EQ(analysis.guidance[1].left_out, 1U);
  EXPECT_EQ(analysis.guidance[1].candidates[0].recipe, "r");
  EXPECT_TRUE(analysis.guidance[2].candidates.empty());  // no speed was measured
}

// Texts and tasks have no common unit; a test on which all float losses are equal has none at all.
TEST_F(MadeUpStudy, MixedTestsAreInStandardDeviations) {
  Fill(0.1, 0.4, 0.01);
  for (Cell& cell : table_.cells) {
    cell.is_text = cell.test == "a";
    if (cell.recipe != "float" || cell.test != "a") continue;
    cell.loss = LossTable(std::vector<double>(30, 1));
    std::vector<double> losses;
    for (int c = 0; c < 30; ++c) losses.push_back(c % 2);
    cell.loss.AddSeed(losses);
  }
  const Guidance guidance = Analyse().guidance[0];
  EXPECT_EQ(guidance.unit, "float model's standard deviations");
  EXPECT_THAT(guidance.tests_left_out, ::testing::ElementsAre("b"));
  ASSERT_EQ(guidance.candidates.size(), 3U);
  EXPECT_EQ(guidance.candidates[0].calibration, "a");
  // A deviation of alternating zeros and ones is sqrt(30 / 4 / 29).
  EXPECT_NEAR(guidance.candidates[0].loss.value, 0.1 / std::sqrt(30.0 / 4 / 29), 0.06);
}

TEST(Spearman, IsOfRanks) {
  EXPECT_DOUBLE_EQ(Spearman({1, 2, 3, 4}, {1, 10, 100, 1000}), 1);
  EXPECT_DOUBLE_EQ(Spearman({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
  // Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 · 5).
  EXPECT_NEAR(Spearman({1, 2, 2, 3}, {1, 2, 3, 4}), 4.5 / std::sqrt(22.5), 1e-12);
  EXPECT_TRUE(std::isnan(Spearman({1, 1, 1}, {1, 2, 3})));
}

// Losses are nats where a task has choices and the study asks for them, else shares.
TEST(EvaluationOf, SaysWhatItsLossesAre) {
  RowsOutcome rows;
  rows.metric = "acc";
  rows.scores = {{.metric = "acc", .value = 0.5, .standard_error = 0.1}};
  rows.items = {.value = {1, 0},
                .right = {1, 0},
                .near_tie = {0, 0},
                .picked = {0, 0},
                .gold = {0, 1},
                .cluster = {1, 1},
                .log_likelihoods = {{-1, -2}, {-1, -3}}};
  const EvaluationData nats = EvaluationOf(rows, TaskLoss::kNll, "x");
  EXPECT_FALSE(nats.is_share);
  EXPECT_NEAR(nats.loss[0], std::log(1 + std::exp(-1.0)), 1e-12);
  EXPECT_NEAR(nats.loss[1], 2 + std::log(1 + std::exp(-2.0)), 1e-12);
  EXPECT_THAT(nats.cluster, ::testing::ElementsAre(0, 1));  // one cluster alone: its items
  EXPECT_EQ(nats.score, 0.5);
  EXPECT_TRUE(std::isnan(nats.baseline));

  const EvaluationData shares = EvaluationOf(rows, TaskLoss::kError, "x");
  EXPECT_TRUE(shares.is_share);
  EXPECT_THAT(shares.loss, ::testing::ElementsAre(0, 1));
  rows.items.log_likelihoods.clear();
  EXPECT_TRUE(EvaluationOf(rows, TaskLoss::kNll, "x").is_share);  // a text that is generated

  EXPECT_THROW(EvaluationOf(MeasureOutcome(), TaskLoss::kNll, "x"), Error);
}

TEST(EvaluationOf, TextsHaveLossesInNatsAndDistances) {
  TextOutcome text;
  text.ppl = Estimate{8, 0.5};
  text.items = {.loss = {2, 3}, .weight = {1, 0.5}, .cluster = {0, 1}};
  text.distance.emplace().kl = Estimate{0.25, 0.125};
  text.overlap = OverlapOutcome{.grams = 10, .found = 4};
  const EvaluationData data = EvaluationOf(text, TaskLoss::kError, "x");
  EXPECT_TRUE(data.is_text);
  EXPECT_FALSE(data.is_share);
  EXPECT_THAT(data.weight, ::testing::ElementsAre(1, 0.5));
  EXPECT_EQ(data.score, 8);
  EXPECT_EQ(data.kl_error, 0.125);
  EXPECT_TRUE(std::isnan(data.same_top1));
  EXPECT_EQ(data.overlap_found, 4U);
}

}  // namespace
}  // namespace qualm
