#include "analysis/study_table.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/strings.h"
#include "support/errors.h"
#include "support/stage_records.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::IsEmpty;
using testing::RecordOf;
using testing::RowsOf;
using testing::TextOf;

EvaluationData Read(const StageOutcome& outcome, TaskLoss loss = TaskLoss::kError) {
  return EvaluationOf(outcome, loss, "stage e");
}

TEST(EvaluationOf, OfATextHasWindowsAndDistances) {
  TextOutcome result = TextOf({1.5, 2}, {8, 4}, {1, 0});
  const EvaluationData plain = Read(result);
  EXPECT_TRUE(plain.is_text);
  EXPECT_FALSE(plain.is_share);
  EXPECT_EQ(plain.metric, "ppl");
  EXPECT_THAT(plain.loss, ElementsAre(1.5, 2));
  EXPECT_THAT(plain.weight, ElementsAre(8, 4));
  EXPECT_THAT(plain.cluster, ElementsAre(0, 1));  // numbered as they come
  EXPECT_EQ(plain.score, 12.5);
  EXPECT_EQ(plain.score_error, 0.25);
  EXPECT_TRUE(std::isnan(plain.kl));
  EXPECT_EQ(plain.overlap_grams, 0u);

  result.distance = DistanceOutcome{};
  result.distance->kl.value = 0.5;
  result.distance->kl.standard_error = 0.125;
  result.distance->same_top1.value = 0.75;
  result.overlap = OverlapOutcome{100, 7};
  const EvaluationData compared = Read(result);
  EXPECT_EQ(compared.kl, 0.5);
  EXPECT_EQ(compared.kl_error, 0.125);
  EXPECT_EQ(compared.same_top1, 0.75);
  EXPECT_EQ(compared.overlap_grams, 100u);
  EXPECT_EQ(compared.overlap_found, 7u);
}

TEST(EvaluationOf, OfATaskHasTheScoreOfItsMainMetric) {
  const EvaluationData data = Read(RowsOf({1, 0.25}, {0, 1}));
  EXPECT_FALSE(data.is_text);
  EXPECT_TRUE(data.is_share);
  EXPECT_THAT(data.loss, ElementsAre(0, 0.75));
  EXPECT_THAT(data.weight, ElementsAre(1, 1));
  EXPECT_THAT(data.right, ElementsAre(1, 0));
  EXPECT_EQ(data.score, 0.5);  // not acc_norm, which comes first
  EXPECT_EQ(data.score_error, 0.1);
  EXPECT_EQ(data.baseline, 0.25);
}

TEST(EvaluationOf, ALikelihoodLossNeedsSeveralChoicesAndARightOne) {
  RowsOutcome result = RowsOf({1, 0, 0.25, 0}, {0, 1, 2, 3});
  const double three = std::log(3);
  result.items.log_likelihoods = {{0, three}, {-5, three - 5}, {0.5}, {0, 0}};
  result.items.gold = {1, 0, 0, -1};
  const EvaluationData data = Read(result, TaskLoss::kNll);
  // Shares of 3/4 and 1/4; a single choice and an unknown one count as errors do.
  EXPECT_THAT(data.loss, ElementsAre(DoubleNear(std::log(4.0 / 3), 1e-12),
                                     DoubleNear(std::log(4.0), 1e-12), 0.75, 1));
  EXPECT_TRUE(data.is_share);
  result.items.log_likelihoods = {{0, 0}, {0, 0}, {0, 0}, {0, 0}};
  result.items.gold = {0, 0, 0, 1};
  EXPECT_FALSE(Read(result, TaskLoss::kNll).is_share);
  EXPECT_TRUE(Read(result, TaskLoss::kError).is_share);
}

TEST(EvaluationOf, ItemsOfASingleClusterAreClustersThemselves) {
  EXPECT_THAT(Read(RowsOf({1, 0, 1}, {2, 2, 2})).cluster, ElementsAre(0, 1, 2));
  EXPECT_THAT(Read(RowsOf({1, 0, 1}, {2, 0, 2})).cluster, ElementsAre(0, 1, 0));
}

TEST(EvaluationOf, ANumberThatIsNotThereIsNotZero) {
  TextOutcome text = TextOf({1, 2}, {1, 1}, {0, 1});
  text.ppl = RecordedEstimate();
  EXPECT_TRUE(std::isnan(Read(text).score));
  EXPECT_TRUE(std::isnan(Read(text).score_error));
}

TEST(EvaluationOf, OnlyATestHasOne) {
  EXPECT_EQ(ErrorOf([] { Read(QuantizeOutcome{}); }),
            "[stage e] expected the outcome of a test; got another kind of stage");
}

class Table : public ::testing::Test {
 protected:
  Table() : work_(folder_.path()) {}

  // A cell of the plan; each seed has its own evaluation, the artefact is `quantize`.
  void AddCell(const std::string& recipe, uint64_t seed, const std::string& key,
               const std::string& quantize = "", const std::string& measure = "") {
    CellRun cell;
    cell.model = "m";
    cell.recipe = recipe;
    cell.calibration = recipe == "float" ? "-" : "a";
    cell.test = "t";
    cell.seed = seed;
    cell.evaluate = key;
    cell.quantize = quantize;
    cell.measure = measure;
    plan_.cells.push_back(cell);
  }
  void Write(const std::string& key, StageOutcome outcome) const {
    work_.WriteRecord(RecordOf(key, std::move(outcome)));
  }

  testing::TemporaryFolder folder_;
  WorkFolder work_;
  StudyPlan plan_;
};

TEST_F(Table, OfAPlanWithoutRecordsIsMissing) {
  AddCell("float", 0, "f");
  AddCell("r", 0, "e");
  const StudyTable table = ReadStudyTable(plan_, work_);
  EXPECT_THAT(table.cells, IsEmpty());
  EXPECT_EQ(table.runs, 2u);
  EXPECT_EQ(table.missing_runs, 2u);
  EXPECT_EQ(table.Find("m", "r", "a", "t"), nullptr);
}

TEST_F(Table, HasTheExcessOverTheFloatModelByClusterAndSeed) {
  AddCell("float", 0, "f");
  AddCell("r", 0, "e0");
  AddCell("r", 1, "e1");
  Write("f", TextOf({1, 2, 3}, {8, 8, 4}, {0, 0, 1}));
  Write("e0", TextOf({1.5, 2, 4}, {8, 8, 4}, {0, 0, 1}));
  Write("e1", TextOf({1, 2, 3.5}, {8, 8, 4}, {0, 0, 1}));
  const StudyTable table = ReadStudyTable(plan_, work_);
  EXPECT_EQ(table.missing_runs, 0u);
  ASSERT_EQ(table.cells.size(), 2u);
  EXPECT_EQ(table.cells[0].recipe, "float");
  EXPECT_EQ(table.cells[0].excess.Mean(), 0);
  const Cell& cell = *table.Find("m", "r", "a", "t");
  EXPECT_THAT(cell.excess.weights(), ElementsAre(16, 4));
  ASSERT_EQ(cell.excess.seeds(), 2u);
  EXPECT_EQ(cell.excess.sum(0, 0), 4);  // 8 · 0.5
  EXPECT_EQ(cell.excess.sum(0, 1), 4);
  EXPECT_EQ(cell.excess.sum(1, 0), 0);
  EXPECT_EQ(cell.excess.sum(1, 1), 2);
  EXPECT_EQ(cell.loss.sum(0, 0), 28);  // 8 · (1.5 + 2)
  EXPECT_EQ(cell.items, 3u);
  EXPECT_THAT(cell.seeds, ElementsAre(0, 1));
  EXPECT_THAT(cell.scores, ElementsAre(12.5, 12.5));
  EXPECT_EQ(cell.float_score, 12.5);
  EXPECT_THAT(cell.evaluate_keys, ElementsAre("e0", "e1"));
  EXPECT_TRUE(std::isnan(cell.bits));
  EXPECT_TRUE(std::isnan(cell.overlap));
}

TEST_F(Table, CellsThatCannotBePairedAreMissing) {
  AddCell("r", 0, "early");  // the float model's evaluation comes later
  AddCell("float", 0, "f");
  AddCell("r", 0, "longer");
  AddCell("r", 0, "other clusters");
  AddCell("r", 0, "failed");
  Write("f", RowsOf({1, 0}, {0, 1}));
  Write("early", RowsOf({1, 0}, {0, 1}));
  Write("longer", RowsOf({1, 0, 1}, {0, 1, 2}));
  Write("other clusters", RowsOf({1, 0, 1}, {0, 1, 1}));
  Write("failed", StageOutcome{});
  const StudyTable table = ReadStudyTable(plan_, work_);
  EXPECT_EQ(table.runs, 5u);
  EXPECT_EQ(table.missing_runs, 4u);
  EXPECT_EQ(table.cells.size(), 1u);
}

TEST_F(Table, FlipsAreMeansOverSeedsAndOverlapIsTheLargest) {
  AddCell("float", 0, "f");
  AddCell("r", 0, "e0");
  AddCell("r", 1, "e1");
  Write("f", RowsOf({1, 1, 0}, {0, 1, 2}));
  RowsOutcome first = RowsOf({0, 0, 1}, {0, 1, 2}), second = RowsOf({1, 0, 0}, {0, 1, 2});
  first.overlap = OverlapOutcome{100, 10};
  second.overlap = OverlapOutcome{100, 30};
  second.items.near_tie = {1, 0, 1};
  Write("e0", first);
  Write("e1", second);
  const StudyTable table = ReadStudyTable(plan_, work_);
  const Cell& cell = table.cells[1];
  EXPECT_EQ(cell.right_to_wrong, 1.5);
  EXPECT_EQ(cell.wrong_to_right, 0.5);
  EXPECT_EQ(cell.near_ties, 2u);
  EXPECT_EQ(cell.overlap, 0.3);
}

TEST_F(Table, DistancesOfTasksAreThoseOfTheChoices) {
  AddCell("float", 0, "f");
  AddCell("r", 0, "e");
  RowsOutcome reference = RowsOf({1, 1}, {0, 1}), data = reference;
  // Even odds against 3 to 1: (log(2 / 3) + log 2) / 2 = log(2 / sqrt 3).
  reference.items.log_likelihoods = {{0, 0}, {0, 0}};
  data.items.log_likelihoods = {{std::log(3), 0}, {0, 0}};
  Write("f", reference);
  Write("e", data);
  const StudyTable table = ReadStudyTable(plan_, work_);
  EXPECT_NEAR(table.cells[1].kl, std::log(2 / std::sqrt(3)) / 2, 1e-12);
  EXPECT_TRUE(std::isnan(table.cells[0].kl));  // the float model has no distance from itself
}

TEST_F(Table, BitsAndSpeedComeFromTheFirstStageThatHasThem) {
  AddCell("float", 0, "f");
  AddCell("r", 0, "e0", "q0", "s0");
  AddCell("r", 1, "e1", "q1", "s1");
  for (const char* key : {"f", "e0", "e1"}) Write(key, RowsOf({1, 0}, {0, 1}));
  QuantizeOutcome quantized;
  quantized.bits_per_weight = 3.25;
  quantized.bits_per_weight_model = 4.5;
  Write("q1", quantized);
  MeasureOutcome measured;
  measured.decode.median = 20;
  measured.decode.lowest = 18;
  measured.decode.highest = 21;
  Write("s0", measured);
  measured.decode.median = 30;
  Write("s1", measured);
  const StudyTable table = ReadStudyTable(plan_, work_);
  const Cell& cell = table.cells[1];
  EXPECT_EQ(cell.bits, 3.25);  // q0 is not done
  EXPECT_EQ(cell.model_bits, 4.5);
  EXPECT_EQ(cell.decode_tokens_per_s, 20);
  EXPECT_EQ(cell.decode_low, 18);
  EXPECT_EQ(cell.decode_high, 21);
  EXPECT_THAT(cell.quantize_keys, ElementsAre("q0", "q1"));
}

TEST_F(Table, FailuresProcessorsAndTimesAreThoseOfAllStages) {
  const auto stage = [&](const std::string& key, const std::string& processor, bool is_done) {
    Stage one;
    one.key = key;
    plan_.stages.push_back(one);
    StageRecord record = RecordOf(key, CalibrateOutcome{});
    record.processor = processor;
    record.seconds = 1.5;
    if (!is_done) {
      record.status = "failed";
      record.error = "bad";
    }
    work_.WriteRecord(record);
  };
  stage("a", "second", true);
  stage("b", "first", true);
  stage("c", "second", true);
  stage("d", "third", false);
  stage("e", "", true);
  Stage open;
  open.key = "open";
  plan_.stages.push_back(open);
  const StudyTable table = ReadStudyTable(plan_, work_);
  EXPECT_THAT(table.processors, ElementsAre("first", "second"));
  EXPECT_THAT(table.failures, ElementsAre("stage d: bad"));
  EXPECT_EQ(table.seconds, 7.5);
}

}  // namespace
}  // namespace qualm
