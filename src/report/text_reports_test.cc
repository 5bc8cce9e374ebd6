// The report as Markdown, CSV and LaTeX.
#include <gmock/gmock.h>

#include "report/report.h"
#include "support/report_study.h"

namespace qualm {
namespace {

using testing::Chosen;
using testing::CountOf;
using ::testing::HasSubstr;
using ::testing::Not;

class TextReports : public testing::ReportStudy {
 protected:
  void AddFamily(double value, double p_holm) {
    FamilyAnswer one;
    one.model = "m";
    one.recipe = "r|s";
    one.family = "qa";
    one.tests = 2;
    one.difference = Chosen(value, value - 0.25, value + 0.25, 0.02);
    one.p_holm = p_holm;
    analysis_.families.push_back(one);
  }

  Guidance& AddGuidance(size_t candidates) {
    Guidance guidance;
    guidance.model = "m";
    guidance.unit = "nats";
    for (size_t i = 0; i < candidates; ++i) {
      Candidate one;
      one.recipe = StrCat("r", i);
      one.calibration = i == 0 ? "a" : "-";
      one.bits = 3.25;
      one.tokens_per_second = NAN;
      one.loss = Chosen(0.5, 0.25, 0.75, 0.01);
      one.probability_best = 0.125;
      one.p_worse = 0.031;
      one.is_worse = i > 1;
      guidance.candidates.push_back(one);
    }
    analysis_.guidance.push_back(guidance);
    return analysis_.guidance.back();
  }
};

TEST_F(TextReports, MarkdownOfAnEmptyStudyIsItsHead) {
  table_.runs = 9;
  table_.missing_runs = 2;
  EXPECT_EQ(
      MarkdownReport(Data()),
      "# A made-up study\n\nIs it so?\n\nStudy made-up v3; 7 of 9 cells; qualm 1.2.3, avx2.\n"
      "\n## Guidance\n"
      "\n## Cells\n\n| recipe | calibration | test | relation | items/clusters/seeds | score | "
      "float | loss − float [95 %] | Holm p | KL | overlap |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|\n");
}

TEST_F(TextReports, MarkdownSaysWhatIsMissingBeforeWhatWasFound) {
  plan_.skipped = {"q: no file"};
  table_.failures = {"quantize a: bad"};
  plan_.spec.seeds = 1;
  AddFamily(0.5, 0.01);
  const std::string text = MarkdownReport(Data());
  EXPECT_THAT(text, HasSubstr("\nLeft out: q: no file\n"));
  EXPECT_THAT(text, HasSubstr("\nFailed: quantize a: bad\n"));
  EXPECT_THAT(text, HasSubstr("\nOne seed: intervals"));
  EXPECT_LT(text.find("One seed:"), text.find("Is IID calibration best?"));
}

TEST_F(TextReports, MarkdownAnswersWithADirectionOnlyIfItIsSignificant) {
  AddFamily(0.5, 0.0499);
  AddFamily(-0.5, 0.01);
  AddFamily(0.5, 0.05);
  AddFamily(0.5, NAN);
  const std::string text = MarkdownReport(Data());
  EXPECT_THAT(text, HasSubstr("## Is IID calibration best? (nats; other data minus IID"));
  EXPECT_THAT(text,
              HasSubstr("| r\\|s | qa | 2 | +0.500 [+0.250, +0.750] | 0.0499 | yes |\n"
                        "| r\\|s | qa | 2 | −0.500 [−0.750, −0.250] | 0.0100 | no: worse |\n"
                        "| r\\|s | qa | 2 | +0.500 [+0.250, +0.750] | 0.0500 | no significant "
                        "difference |\n"
                        "| r\\|s | qa | 2 | +0.500 [+0.250, +0.750] | – | no significant "
                        "difference |\n"));
}

TEST_F(TextReports, MarkdownListsGapsAndFalseAlarms) {
  GeneralizationGap gap;
  gap.model = "m";
  gap.recipe = "r";
  gap.relation = Relation::kControl;
  gap.tests = 4;
  gap.gap = Chosen(0.5, 0.25, 0.75, 0.0123);
  gap.p_holm = 0.0246;
  analysis_.gaps.push_back(gap);
  analysis_.false_alarms.comparisons = 8;
  analysis_.false_alarms.alarms = 1;
  analysis_.false_alarms.interval = {0.003, 0.527};
  analysis_.false_alarms.splits = 20;
  analysis_.false_alarms.split_alarms = 2;
  const std::string text = MarkdownReport(Data());
  EXPECT_THAT(text, HasSubstr("## Generalization gap (nats)"));
  EXPECT_THAT(text, HasSubstr("| r | control | 4 | +0.500 [+0.250, +0.750] | 0.0123 | 0.0246 | 2/3 "
                              "| 0.125 |\n"));
  EXPECT_THAT(text, HasSubstr("A/A: 1 of 8 comparisons of a calibration set with itself have p < "
                              "0.05 (exact 95 % interval 0.3 % to 52.7 %); over all halvings of "
                              "the seeds 2 of 20.\n"));
}

TEST_F(TextReports, MarkdownGuidanceTellsHowSureItIs) {
  AddGuidance(0);
  AddGuidance(1).budget = {4, 0};
  AddGuidance(3).budget = {0, 20};
  Guidance& decided = AddGuidance(2);
  decided.budget = {4.5, 20};
  decided.is_decided = true;
  decided.unit = "share";
  decided.tests_left_out = {"t", "u"};
  const std::string text = MarkdownReport(Data());
  EXPECT_EQ(CountOf(text, "\n### m: "), 3u);  // none without a candidate
  EXPECT_THAT(text, HasSubstr("### m: at most 4 bits/weight\n\nThe only candidate.\n"));
  EXPECT_THAT(text,
              HasSubstr("### m: at least 20 tokens/s\n\nNo significant difference between the "
                        "first and those marked \"not worse\".\n"));
  EXPECT_THAT(text,
              HasSubstr("### m: at most 4.5 bits/weight, at least 20 tokens/s\n\nThe first is "
                        "significantly better than all others.\n\nNot in the mean, because "
                        "the float model's losses are all equal: t, u.\n"));
  EXPECT_THAT(text, HasSubstr("loss − float (percentage points) [95 %]"));
  EXPECT_THAT(text,
              HasSubstr("| r0 · a | 3.25 | – | +0.500 [+0.250, +0.750] | 0.125 |  |  |\n"
                        "| r1 | 3.25 | – | +0.500 [+0.250, +0.750] | 0.125 | 0.031 | not worse"
                        " |\n"
                        "| r2 | 3.25 | – | +0.500 [+0.250, +0.750] | 0.125 | 0.031 | worse |\n"));
  EXPECT_THAT(text, HasSubstr("| r1 | 3.25 | – | +50.0 [+25.0, +75.0] |"));
}

TEST_F(TextReports, MarkdownGuidanceShowsTwentyFiveCandidatesAndNoBound) {
  AddGuidance(26);
  const std::string text = MarkdownReport(Data());
  EXPECT_THAT(text, HasSubstr("### m: no bound\n"));
  EXPECT_THAT(text, HasSubstr("| r24 |"));
  EXPECT_THAT(text, Not(HasSubstr("| r25 |")));
}

TEST_F(TextReports, MarkdownListsProxies) {
  analysis_.proxies.push_back({"m", "KL|stories", "q", 12, 0.5, -0.25, 0.75});
  analysis_.proxies.push_back({"m", "ppl", "", 2, NAN, NAN, NAN});
  EXPECT_THAT(MarkdownReport(Data()), HasSubstr("| KL\\|stories | q | 12 | +0.50 [−0.25, +0.75] |\n"
                                                "| ppl | mean of all | 2 | – [–, –] |\n"));
}

TEST_F(TextReports, MarkdownHasALineForEachCell) {
  AddTextTest("t|u");
  AddTaskTest("q", "qa");
  AddCell("r", "a|b|", "t|u", Chosen(0.5, 0.25, 0.75, 0.01), 0.0123);
  AddCell("r", "-", "q", Chosen(0.125, NAN, NAN, NAN), NAN).score_deviation = NAN;
  table_.cells[0].relation = Relation::kCrossDataset;
  table_.cells[1].relation = Relation::kNone;
  table_.cells[1].kl = table_.cells[1].overlap = NAN;
  EXPECT_THAT(
      MarkdownReport(Data()),
      HasSubstr("| r | a\\|b\\| | t\\|u | other dataset | 40/4/3 | 0.5000 ± 0.0100 | 0.7500 | "
                "+0.500 [+0.250, +0.750] | 0.0123 | 0.0123 | 5.0 % |\n"
                "| r | - | q | no data | 40/4/3 | 0.5000 | 0.7500 | +12.5 [–, –] | – | – | – "
                "|\n"));
}

TEST_F(TextReports, CsvHasEveryDigitAndEmptyFieldsForWhatThereIsNot) {
  AddTextTest("t,u");
  AddCell("r \"x\"", "a", "t,u", Chosen(0.1, -0.0625, NAN, 1e-7), NAN).score_deviation = NAN;
  table_.cells[0].relation = Relation::kCrossTask;
  const std::string csv = CsvReport(Data());
  const size_t end = csv.find('\n');
  EXPECT_EQ(
      csv.substr(0, end),
      "model,recipe,calibration,test,relation,metric,items,clusters,seeds,score_mean,score_sd,"
      "float_score,loss_excess,loss_stderr,loss_low,loss_high,df,p,p_holm,effect_size,"
      "detectable,seeds_agreeing,kl,kl_stderr,right_to_wrong,wrong_to_right,near_ties,overlap,"
      "bits_per_weight,bits_per_weight_model,decode_tokens_per_s");
  EXPECT_EQ(csv.substr(end + 1),
            "m,\"r \"\"x\"\"\",a,\"t,u\",cross-task,ppl,40,4,3,0.5,,"
            "0.75,0.1,0.5,-0.0625,,6,1e-07,,0.25,0.125,2,0.0123,0.001,1.5,0.5,2,0.05,3.25,4.5,\n");
}

TEST_F(TextReports, LatexEscapesNames) {
  AddTextTest("a_b&c%$#{}~^\\");
  AddGroup("float", "-", "a_b&c%$#{}~^\\");
  EXPECT_THAT(LatexReport(Data()),
              HasSubstr("recipe & calibration & a\\_b\\&c\\%\\$\\#\\{\\}\\textasciitilde{}"
                        "\\textasciicircum{}\\textbackslash{} \\\\\n"));
}

TEST_F(TextReports, LatexMarksIidSignificanceAndMissingCells) {
  AddTextTest("t");
  AddTaskTest("q", "qa");
  AddTextTest("not done");
  AddGroup("float", "-", "t");
  AddGroup("float", "-", "q");
  AddGroup("r", "a", "t", {0.5, 0.25}).relation = Relation::kIid;  // the mean is 0.375
  AddGroup("r", "a", "q", {-0.125}).relation = Relation::kCrossTask;
  AddGroup("r", "b", "t", {0.125});
  AddGroup("s", "-", "q", {NAN});
  const auto compare = [&](const std::string& calibration, const std::string& test, double p) {
    CalibrationComparison one;
    one.model = "m";
    one.recipe = "r";
    one.calibration = calibration;
    one.test = test;
    one.p_holm = p;
    analysis_.comparisons.push_back(one);
  };
  compare("a", "q", 0.049);
  compare("b", "t", 0.05);
  EXPECT_EQ(LatexReport(Data()),
            "% made-up v3, qualm 1.2.3; needs booktabs. Bold: IID; * Holm p < 0.05 against IID.\n"
            "\\begin{tabular}{llrr}\n\\toprule\nrecipe & calibration & t & q \\\\\n\\midrule\n"
            "float & - & $0.75$ & $0.750$ \\\\\n"
            "r & a & \\textbf{$+0.375$} & $-12.5$* \\\\\n"
            "r & b & $+0.125$ & -- \\\\\n"
            "s & - & -- & -- \\\\\n"
            "\\bottomrule\n\\end{tabular}\n\n");
}

TEST_F(TextReports, LatexHasATableForEachModel) {
  plan_.spec.models = {"m", "n"};
  AddTextTest("t");
  AddGroup("float", "-", "t");
  AddGroup("float", "-", "t").model = "n";
  AddGroup("only n", "-", "t", {1}).model = "n";
  const std::string text = LatexReport(Data());
  EXPECT_EQ(CountOf(text, "\\begin{tabular}{llr}"), 2u);
  EXPECT_EQ(CountOf(text, "only n"), 1u);
  EXPECT_GT(text.find("only n"), text.find("\\end{tabular}"));
}

}  // namespace
}  // namespace qualm
