#include "study/graph.h"

#include <gtest/gtest.h>

#include <set>

#include "base/progress.h"
#include "base/strings.h"
#include "support/shared_data.h"
#include "tasks/items.h"

namespace qualm {
namespace {

std::string StudyText(const std::string& more) {
  return StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [",
                qualm::testing::SourceRoot().string(),
                "/demo/model]\nrecipes: [rtn-w4-g64, gptq-w4-g64]\nseeds: 2\n"
                "defaults: {samples: 2, length: 16, held_out: 0}\n"
                "calibration:\n"
                "  - {name: rows, rows: {task: boolq}, about: {dataset: boolq}}\n"
                "  - {name: random, random_tokens: true}\n"
                "  - {name: again, again: random}\n"
                "tests: [{name: boolq, task: boolq, shots: 0, about: {dataset: boolq}}]\n",
                more);
}

StudyPlan PlanOf(const std::string& more) {
  PlanOptions options;
  options.data_folder = qualm::testing::SourceRoot() / "tests" / "data" / "rows";
  SilentProgress progress;
  return MakeStudyPlan(ParseStudy(StudyText(more), "x.yaml"), options, progress);
}

std::set<std::string> KeysOf(const StudyPlan& plan, StageKind kind) {
  std::set<std::string> keys;
  for (const Stage& stage : plan.stages) {
    if (stage.kind == kind) keys.insert(stage.key);
  }
  return keys;
}

// 3 sets x 2 seeds of one recipe, one without data, the float model.
TEST(StudyGraph, HasAStageForEachDifferentThing) {
  const StudyPlan plan = PlanOf("");
  EXPECT_EQ(KeysOf(plan, StageKind::kCalibrate).size(), 6U);
  EXPECT_EQ(KeysOf(plan, StageKind::kQuantize).size(), 7U);
  EXPECT_EQ(KeysOf(plan, StageKind::kEvaluate).size(), 8U);
  EXPECT_EQ(plan.cells.size(), 8U);
  EXPECT_EQ(plan.cells[0].recipe, "float");
  for (const StudyCell& cell : plan.cells) {
    if (cell.calibration == "again") {
      EXPECT_GE(cell.seed, 2U);  // other seeds than the original's
    }
    if (cell.calibration == "rows") {
      EXPECT_EQ(cell.relation, Relation::kIid);
    }
    if (cell.calibration == "random") {
      EXPECT_EQ(cell.relation, Relation::kControl);
    }
  }
}

TEST(StudyGraph, SameInputsSameKeys) {
  EXPECT_EQ(KeysOf(PlanOf(""), StageKind::kEvaluate), KeysOf(PlanOf(""), StageKind::kEvaluate));
}

// The rows that are scored depend on how the split is parted.
TEST(StudyGraph, AnotherPoolIsAnotherTest) {
  const std::set<std::string> half = KeysOf(PlanOf(""), StageKind::kEvaluate);
  for (const char* other : {"pools: {calibration_share: 0.6}\n", "pools: {seed: 1}\n"}) {
    for (const std::string& key : KeysOf(PlanOf(other), StageKind::kEvaluate)) {
      EXPECT_FALSE(half.contains(key)) << other;
    }
  }
}

TEST(StudyGraph, RulesLeaveCellsOut) {
  const StudyPlan plan = PlanOf("exclude: [{relation: control}]\n");
  EXPECT_EQ(plan.cells.size(), 1 + 1 + 2U);
  EXPECT_EQ(KeysOf(plan, StageKind::kCalibrate).size(), 2U);
}

TEST(StudyGraph, APlanComesBackFromItsFile) {
  const StudyPlan plan = PlanOf("budgets: [{bits_per_weight: 3}]\n");
  const Json json = ToJson(plan);
  EXPECT_EQ(ToJson(StudyPlanFromJson(ParseJson(json.dump(), "x"), "x")).dump(), json.dump());
}

TEST(RowPools, PartTheRowsOnce) {
  size_t calibration = 0;
  for (size_t i = 0; i < 1000; ++i) {
    SourcedRow row;
    row.index = i;
    const RowPool pool = PoolOf(row, "set", 0, 0.3);
    EXPECT_EQ(pool, PoolOf(row, "set", 0, 0.3));
    calibration += pool == RowPool::kCalibration ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(calibration), 300, 4 * 14.5);  // sqrt(1000 · 0.3 · 0.7) = 14.5
}

}  // namespace
}  // namespace qualm
