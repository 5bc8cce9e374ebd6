#include "study/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/database.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

constexpr DatabaseKind kAny = {.name = "results", .damaged_hint = "", .failed_note = ""};

class Collected : public ::testing::Test {
 protected:
  Collected() : work_(folder_ / "work") { plan_.spec.name = "s"; }

  void Put(const std::string& key, StageInputs inputs, StageOutcome outcome) {
    Stage stage;
    stage.key = key;
    stage.inputs = inputs;
    plan_.stages.push_back(stage);
    StageRecord record;
    record.key = key;
    record.status = "done";
    record.finished_at = "it's now";  // quotes do not matter
    record.inputs = std::move(inputs);
    record.outcome = std::move(outcome);
    work_.WriteRecord(record);
  }

  testing::TemporaryFolder folder_;
  WorkFolder work_;
  StudyPlan plan_;
};

TEST_F(Collected, EachOutcomeHasItsTable) {
  TextOutcome text;
  text.items = {.loss = {1.5, kNoNumber}, .weight = {1, 0.5}, .cluster = {0, 1}};
  Put("text", EvaluateInputs(), text);
  RowsOutcome rows;
  rows.items.value = {0.25};
  rows.items.right = {1};
  rows.items.near_tie = {0};
  rows.items.picked = {(int64_t{1} << 53) + 1};
  rows.items.gold = {-1};
  rows.items.cluster = {0};
  rows.samples = {{.item = 0, .answer = "a", .prompt = "p"}};
  EvaluateInputs task;
  task.kind = TestKind::kTask;
  Put("rows", task, rows);
  Put("quantize", QuantizeInputs(),
      QuantizeOutcome{.artefact_hash = "", .layers = {{.name = "q"}}});

  const CollectCounts counts = CollectResults(plan_, work_);
  EXPECT_EQ(counts.stages, 3U);
  EXPECT_EQ(counts.items, 3U);
  const Database database(work_.Results(), kAny);
  const auto count = [&](const std::string& where) {
    return database.Number("SELECT count(*) FROM " + where);
  };
  EXPECT_EQ(count("items WHERE stage = 'text' AND item = 0 AND loss = 1.5 AND value IS NULL AND "
                  "picked IS NULL"),
            1);
  EXPECT_EQ(count("items WHERE stage = 'text' AND loss IS NULL AND weight = 0.5 AND cluster = 1"),
            1);
  EXPECT_EQ(count("items WHERE stage = 'rows' AND loss = 0.75 AND is_right = 1 AND "
                  "picked = 9007199254740993 AND typeof(picked) = 'integer' AND gold = -1"),
            1);
  EXPECT_EQ(count("samples WHERE prompt = 'p' AND place IS NULL AND answer = 'a'"), 1);
  EXPECT_EQ(count("layers WHERE layer = 'q' AND held_out_error IS NULL AND "
                  "calibration_error IS NULL"),
            1);
  EXPECT_EQ(count("stages WHERE kind = 'evaluate' AND result NOT LIKE '%\"items\"%'"), 2);

  EXPECT_EQ(CollectResults(plan_, work_).stages, 0U);  // what is there is left alone
}

TEST_F(Collected, ResultsOfAnotherVersionMayBeRemoved) {
  CollectResults(plan_, work_);
  Database(work_.Results(), kAny).Execute("PRAGMA user_version=1");
  EXPECT_THAT(testing::ErrorOf([&] { CollectResults(plan_, work_); }),
              ::testing::HasSubstr("expected results of studies, version 2; got version 1; remove "
                                   "the file: it is made again from the records"));
}

}  // namespace
}  // namespace qualm
