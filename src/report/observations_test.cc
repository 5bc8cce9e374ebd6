#include "report/observations.h"

#include <gmock/gmock.h>

#include <limits>

#include "support/report_study.h"

namespace qualm {
namespace {

using testing::Chosen;

class Observations : public testing::ReportStudy {
 protected:
  // a run of the plan, its cell in the table, and the record of its evaluation.
  void AddEvaluation(const std::string& recipe, const std::string& calibration,
                     const std::string& test, uint64_t seed, StageOutcome outcome) {
    CellRun cell;
    cell.model = "m";
    cell.recipe = recipe;
    cell.calibration = calibration;
    cell.seed = seed;
    cell.test = test;
    cell.relation = recipe == "float" ? Relation::kNone : Relation::kIid;
    cell.evaluate = StrCat(EvaluateKey(recipe, calibration, test), ".", seed);
    plan_.cells.push_back(cell);
    WriteRecord(cell.evaluate, std::move(outcome));
    if (table_.Find("m", recipe, calibration, test) == nullptr) {
      AddGroup(recipe, calibration, test);
    }
  }

  static RowsOutcome Rows(const std::vector<double>& values) {
    std::vector<uint64_t> clusters(values.size());
    for (size_t i = 0; i < clusters.size(); ++i) clusters[i] = i;
    return testing::RowsOf(values, clusters);
  }
};

constexpr const char* kHeader =
    "model,recipe,calibration,seed,test,relation,metric,item,cluster,weight,loss,float_loss,value,"
    "is_right,is_near_tie,bits_per_weight\n";

TEST_F(Observations, OfAnEmptyStudyAreAHeader) {
  EXPECT_EQ(ObservationTable(Data()).rows(), 0u);
  EXPECT_EQ(CsvOf(ObservationTable(Data())), kHeader);
}

TEST_F(Observations, HaveARowForEachItemOfEachSeed) {
  AddTaskTest("q", "qa");
  AddEvaluation("float", "-", "q", 0, Rows({1, 0}));
  AddEvaluation("r", "a,b", "q", 0, Rows({0.25, 1}));
  AddEvaluation("r", "a,b", "q", 1, Rows({1, 0}));
  // The loss is 1 - value; the float model has no bits.
  EXPECT_EQ(CsvOf(ObservationTable(Data())),
            StrCat(kHeader,
                   "m,float,-,0,q,none,acc,0,0,1,0,0,1,1,0,\n"
                   "m,float,-,0,q,none,acc,1,1,1,1,1,0,0,0,\n"
                   "m,r,\"a,b\",0,q,iid,acc,0,0,1,0.75,0,0.25,0,0,3.25\n"
                   "m,r,\"a,b\",0,q,iid,acc,1,1,1,0,1,1,1,0,3.25\n"
                   "m,r,\"a,b\",1,q,iid,acc,0,0,1,0,0,1,1,0,3.25\n"
                   "m,r,\"a,b\",1,q,iid,acc,1,1,1,1,1,0,0,0,3.25\n"));
}

TEST_F(Observations, WindowsOfATextAreNeitherRightNorWrong) {
  AddTextTest("t");
  AddEvaluation("float", "-", "t", 0, testing::TextOf({1.5, 2}, {8, 8}, {0, 1}));
  EXPECT_EQ(CsvOf(ObservationTable(Data())), StrCat(kHeader,
                                                    "m,float,-,0,t,none,ppl,0,0,8,1.5,1.5,,,,\n"
                                                    "m,float,-,0,t,none,ppl,1,1,8,2,2,,,,\n"));
}

TEST_F(Observations, CellsWithoutAComparisonHaveNoRows) {
  AddTaskTest("q", "qa");
  AddTaskTest("p", "qa");
  AddEvaluation("r", "a", "p", 0, Rows({1, 0}));  // the float model's is not there
  AddEvaluation("float", "-", "q", 0, Rows({1, 0}));
  AddEvaluation("r", "b", "q", 0, StageOutcome{});
  AddEvaluation("r", "c", "q", 0, Rows({1, 0, 1}));  // other items
  CellRun cell = plan_.cells[1];
  cell.recipe = "r";
  cell.calibration = "not in the table";
  plan_.cells.push_back(cell);
  cell.evaluate = "no record";
  plan_.cells.push_back(cell);
  EXPECT_EQ(ObservationTable(Data()).rows(), 2u);
}

TEST(CsvOf, LeavesMissingValuesEmptyAndQuotesTexts) {
  ParquetTable table;
  table.AddColumn("a,b", ParquetTable::Values<std::string>{"x\"y", std::nullopt});
  table.AddColumn("n", ParquetTable::Values<int64_t>{std::nullopt, -3});
  table.AddColumn("x", ParquetTable::Values<double>{0.1, std::nullopt});
  table.AddColumn("yes", ParquetTable::Values<bool>{true, false});
  EXPECT_EQ(CsvOf(table), "\"a,b\",n,x,yes\n\"x\"\"y\",,0.1,1\n,-3,,0\n");
}

TEST_F(Observations, JsonOfAnEmptyStudyHasEveryKeyAndNoEntry) {
  const Json json = StudyJson(Data());
  EXPECT_EQ(json["study"], "made-up");
  EXPECT_EQ(json["version"], 3);
  EXPECT_EQ(json["qualm_version"], "1.2.3");
  EXPECT_EQ(json["instruction_set"], "avx2");
  for (const char* key : {"skipped", "failures", "cells", "comparisons_with_iid",
                          "generalization_gaps", "families", "guidance", "proxies"}) {
    EXPECT_TRUE(json[key].is_array() && json[key].empty()) << key;
  }
}

TEST_F(Observations, JsonOfACellHasNullForWhatThereIsNot) {
  AddTaskTest("q", "qa");
  AddCell("r", "a", "q", Chosen(0.5, NAN, std::numeric_limits<double>::infinity(), NAN), NAN);
  table_.cells[0].relation = Relation::kControl;
  table_.cells[0].quantize_keys = {"k"};
  const Json json = StudyJson(Data());
  const Json& cell = json["cells"][0];
  EXPECT_EQ(cell["recipe"], "r");
  EXPECT_EQ(cell["relation"], "control");
  EXPECT_EQ(cell["items"], 40);
  EXPECT_EQ(cell["scores"], Json::array({0.5, 0.5, 0.5}));
  EXPECT_EQ(cell["bits_per_weight"], 3.25);
  EXPECT_EQ(cell["quantize"], Json::array({"k"}));
  EXPECT_EQ(cell["excess_loss"]["value"], 0.5);
  EXPECT_EQ(cell["excess_loss"]["stderr"], 0.5);
  EXPECT_EQ(cell["excess_loss"]["seeds_agreeing"], 2);
  for (const char* key : {"low", "high", "p"}) {
    EXPECT_TRUE(cell["excess_loss"][key].is_null()) << key;
  }
  for (const char* key : {"baseline", "p_holm", "decode_tokens_per_s"}) {
    EXPECT_TRUE(cell[key].is_null()) << key;
  }
}

TEST_F(Observations, JsonHasEveryStatementOfTheAnalysis) {
  plan_.skipped = {"s"};
  table_.failures = {"f"};
  table_.runs = 9;
  table_.missing_runs = 2;
  const Inference inference = Chosen(0.5, 0.25, 0.75, 0.01);
  analysis_.comparisons.push_back(
      {"m", "r", "t", "b", "a", Relation::kCrossSubject, inference, 0.02});
  analysis_.gaps.push_back({"m", "r", Relation::kCrossLanguage, 4, inference, 0.03});
  analysis_.families.push_back({"m", "r", "qa", 5, inference, 0.04});
  analysis_.proxies.push_back({"m", "KL", "", 2, NAN, -0.5, 0.5});
  analysis_.false_alarms.comparisons = 8;
  analysis_.false_alarms.alarms = 1;
  analysis_.false_alarms.interval = {0.25, 0.5};
  Guidance guidance;
  guidance.model = "m";
  guidance.budget = {4, 0};
  guidance.unit = "share";
  guidance.tests = 3;
  guidance.left_out = 1;
  guidance.tests_left_out = {"t"};
  guidance.is_decided = true;
  guidance.candidates.push_back({"r", "-", 3.5, NAN, inference, 0.75, 1, false});
  analysis_.guidance.push_back(guidance);

  const Json json = StudyJson(Data());
  EXPECT_EQ(json["cells_asked"], 9);
  EXPECT_EQ(json["cells_missing"], 2);
  EXPECT_EQ(json["skipped"], Json::array({"s"}));
  EXPECT_EQ(json["failures"], Json::array({"f"}));
  const Json& comparison = json["comparisons_with_iid"][0];
  EXPECT_EQ(comparison["calibration"], "b");
  EXPECT_EQ(comparison["iid"], "a");
  EXPECT_EQ(comparison["relation"], "cross-subject");
  EXPECT_EQ(comparison["difference"]["high"], 0.75);
  EXPECT_EQ(comparison["p_holm"], 0.02);
  const Json& gap = json["generalization_gaps"][0];
  EXPECT_EQ(gap["relation"], "cross-language");
  EXPECT_EQ(gap["tests"], 4);
  EXPECT_EQ(gap["gap"]["low"], 0.25);
  EXPECT_EQ(gap["p_holm"], 0.03);
  const Json& family = json["families"][0];
  EXPECT_EQ(family["family"], "qa");
  EXPECT_EQ(family["others_minus_iid"]["value"], 0.5);
  EXPECT_EQ(family["p_holm"], 0.04);
  const Json& proxy = json["proxies"][0];
  EXPECT_EQ(proxy["points"], 2);
  EXPECT_TRUE(proxy["spearman"].is_null());
  EXPECT_EQ(proxy["low"], -0.5);
  EXPECT_EQ(json["false_alarms"]["alarms"], 1);
  EXPECT_EQ(json["false_alarms"]["rate_high"], 0.5);
  const Json& advice = json["guidance"][0];
  EXPECT_EQ(advice["bits_per_weight"], 4);
  EXPECT_EQ(advice["unit"], "share");
  EXPECT_EQ(advice["left_out"], 1);
  EXPECT_EQ(advice["tests_left_out"], Json::array({"t"}));
  EXPECT_EQ(advice["is_decided"], true);
  EXPECT_EQ(advice["candidates"][0]["bits_per_weight"], 3.5);
  EXPECT_TRUE(advice["candidates"][0]["tokens_per_second"].is_null());
  EXPECT_EQ(advice["candidates"][0]["probability_best"], 0.75);
}

}  // namespace
}  // namespace qualm
