// What was found in sentences, and the advice.
#include <gmock/gmock.h>

#include "report/html.h"
#include "support/report_study.h"

namespace qualm {
namespace {

using testing::Chosen;
using testing::CountOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Summary : public testing::ReportStudy {
 protected:
  void AddFamily(const std::string& family, double value, double p_holm) {
    FamilyAnswer one;
    one.model = "m";
    one.recipe = "r";
    one.family = family;
    one.tests = 2;
    one.difference = Chosen(value, value - 0.25, value + 0.25, 0.02);
    one.p_holm = p_holm;
    analysis_.families.push_back(one);
  }

  // Advice with a candidate for each loss; the first is not worse than itself.
  Guidance& AddGuidance(const std::vector<double>& losses, size_t not_worse) {
    Guidance guidance;
    guidance.model = "m";
    guidance.unit = "nats";
    guidance.tests = 2;
    for (size_t i = 0; i < losses.size(); ++i) {
      Candidate one;
      one.recipe = StrCat("r", i);
      one.calibration = i == 0 ? "a" : "-";
      one.bits = 3.25;
      one.tokens_per_second = NAN;
      one.loss = Chosen(losses[i], losses[i] - 0.01, losses[i] + 0.01, 0.01);
      one.probability_best = i == 0 ? 0.625 : 0.125;
      one.p_worse = i == 0 ? 1 : 0.0301;
      one.is_worse = i >= not_worse;
      guidance.candidates.push_back(one);
    }
    analysis_.guidance.push_back(guidance);
    return analysis_.guidance.back();
  }
};

TEST_F(Summary, OfAnEmptyStudyIsItsQuestion) {
  const std::string html = SummarySection(Data());
  EXPECT_THAT(html, HasSubstr("<p class=\"question\"><span lang=\"en\">Is it so?</span>"
                              "<span lang=\"zh\">是这样吗？</span></p>"));
  EXPECT_THAT(html, Not(HasSubstr("<li>")));
  EXPECT_THAT(html, Not(HasSubstr("warning")));
}

TEST_F(Summary, ASignificantDifferenceHasADirection) {
  AddTextTest("t");
  AddFamily("text", 0.5, 0.0301);
  AddFamily("text", -0.5, 0.0004);
  const std::string html = SummarySection(Data());
  EXPECT_THAT(html, HasSubstr("<b>r</b> on text: calibrating on the test's own kind of text is "
                              "<b>better</b> than on other text, by +0.500 [+0.250, +0.750], "
                              "p = 0.020, Holm p = 0.030, 2/3 "));
  EXPECT_THAT(html, HasSubstr("(nats, 2 tests)."));
  EXPECT_THAT(html, HasSubstr("<b>worse</b> than on other text, by −0.500 [−0.750, −0.250], "
                              "p = 0.020, Holm p &lt; 0.001, 2/3 "));
  EXPECT_THAT(html, HasSubstr("<b>更好</b>：+0.500"));
  EXPECT_THAT(html, HasSubstr("<b>更差</b>：−0.500"));
}

TEST_F(Summary, WithoutSignificanceItSaysWhatWouldHaveBeenFound) {
  AddTaskTest("q", "qa");
  AddGroup("float", "-", "q");
  AddFamily("qa", 0.5, 0.05);
  AddFamily("", 0.5, NAN);  // no p-value is not significant either
  const std::string html = SummarySection(Data());
  EXPECT_EQ(CountOf(html, "no significant difference between"), 2u);
  EXPECT_THAT(html, HasSubstr("<b>r</b> on qa: no significant"));
  EXPECT_THAT(html, HasSubstr("<b>r</b> on all tests: no significant"));
  EXPECT_THAT(html, HasSubstr("differences from 12.5 percentage points on would have been found"));
  EXPECT_THAT(html, HasSubstr("12.5 百分点 以上的差异有 80% 的机会被发现"));
  EXPECT_THAT(html, Not(HasSubstr("<b>better</b>")));
}

TEST_F(Summary, CostsCountSignificantCellsOfEachRecipe) {
  AddTextTest("t");
  AddTextTest("u");
  AddCell("r", "a", "t", Chosen(0.5, 0, 1, 0.01), 0.01);
  AddCell("r", "b", "t", Chosen(0.25, 0, 1, 0.01), 0.05);  // not below
  AddCell("r", "a", "u", Chosen(-0.125, -1, 0, 0.01), 0.01);
  AddCell("s", "-", "t", Chosen(1, 0, 2, 0.01), NAN);
  const std::string html = SummarySection(Data());
  EXPECT_THAT(html, HasSubstr("<b>r</b> (3.25 bits per weight) loses −0.125 to +0.500 nats against "
                              "the float model; significantly worse in 1 and better in 1 of 3 "
                              "cells (Holm)."));
  EXPECT_THAT(html, HasSubstr("3 个单元格中 1 个显著变差，1 个显著变好"));
  EXPECT_THAT(html, HasSubstr("<b>s</b> (3.25 bits per weight) loses +1.000 to +1.000 nats against "
                              "the float model; significantly worse in 0 and better in 0 of 1"));
}

TEST_F(Summary, MoreThanTwelveCostsAreLeftOut) {
  AddTextTest("t");
  for (int i = 0; i < 12; ++i) AddCell(StrCat("r", i), "a", "t", Chosen(0.1, 0, 1, 0.5));
  EXPECT_EQ(CountOf(SummarySection(Data()), "bits per weight) loses"), 12u);
  AddCell("one more", "a", "t", Chosen(0.1, 0, 1, 0.5));
  EXPECT_EQ(CountOf(SummarySection(Data()), "bits per weight) loses"), 0u);
}

TEST_F(Summary, VerdictsFitTheNumberOfCandidates) {
  const auto verdict = [&](const std::vector<double>& losses, size_t not_worse, bool is_decided) {
    analysis_.guidance.clear();
    AddGuidance(losses, not_worse).is_decided = is_decided;
    return SummarySection(Data());
  };
  EXPECT_THAT(verdict({}, 0, false), HasSubstr("No candidate fits this budget."));
  EXPECT_THAT(verdict({0.1}, 1, false), HasSubstr("<b>r0 · a</b> is the only candidate."));
  EXPECT_THAT(
      verdict({0.1, 0.2, 0.3}, 1, true),
      HasSubstr("Take <b>r0 · a</b>: significantly better than all 2 others (probability of "
                "being best 0.62)"));  // 0.625, to even
  const std::string open = verdict({0.1, 0.2, 0.3}, 2, false);
  EXPECT_THAT(open, HasSubstr("<b>No significant difference</b> among the first 2 of 3 candidates; "
                              "the smallest loss has <b>r0 · a</b>"));
  EXPECT_THAT(open, HasSubstr("前 2 个方案（共 3 个）之间<b>没有显著差异</b>"));
}

TEST_F(Summary, BudgetsAreToldInWords) {
  const auto budget = [&](double bits, double speed) {
    analysis_.guidance.clear();
    AddGuidance({0.1}, 1).budget = {bits, speed};
    return SummarySection(Data());
  };
  EXPECT_THAT(budget(0, 0), HasSubstr("With no budget: "));
  EXPECT_THAT(budget(0, 0), HasSubstr("在“不设预算”条件下："));
  EXPECT_THAT(budget(4.25, 0), HasSubstr("With at most 4.25 bits per weight: "));
  EXPECT_THAT(budget(0, 20), HasSubstr("With at least 20 tokens per second: "));
  EXPECT_THAT(budget(4.25, 20),
              HasSubstr("With at most 4.25 bits per weight and at least 20 tokens per second: "));
  EXPECT_THAT(budget(4.25, 20),
              HasSubstr("在“每权重不超过 4.25 比特，每秒至少 20 个词元”条件下："));
}

TEST_F(Summary, AdviceNamesTheModelOnlyAmongSeveral) {
  AddGuidance({0.1}, 1);
  EXPECT_THAT(SummarySection(Data()), HasSubstr("<li><span lang=\"en\">With"));
  plan_.spec.models = {"m", "n"};
  EXPECT_THAT(SummarySection(Data()), HasSubstr("<li>m: <span lang=\"en\">With"));
}

TEST_F(Summary, FalseAlarmsAreToldIfThereIsATwin) {
  EXPECT_THAT(SummarySection(Data()), Not(HasSubstr("Control:")));
  analysis_.false_alarms.comparisons = 8;
  analysis_.false_alarms.alarms = 1;
  analysis_.false_alarms.interval = {0.003, 0.527};
  const std::string html = SummarySection(Data());
  EXPECT_THAT(html, HasSubstr("Control: of 8 comparisons of a calibration set with itself, drawn "
                              "again, 1 had p &lt; 0.05 (expected 5 %; exact 95 % interval of the "
                              "rate 0.3 % to 52.7 %)."));
  EXPECT_THAT(html, HasSubstr("比较 8 次，其中 1 次"));
}

TEST_F(Summary, OneSeedAndMissingCellsAreWarnedOf) {
  plan_.spec.seeds = 1;
  table_.runs = 9;
  table_.missing_runs = 2;
  const std::string html = SummarySection(Data());
  EXPECT_EQ(CountOf(html, "<p class=\"warning\">"), 2u);
  EXPECT_THAT(html, HasSubstr("One seed: intervals and p-values hold the items' variation only"));
  EXPECT_THAT(html, HasSubstr("仅一个种子"));
  EXPECT_THAT(html, HasSubstr("2 of 9 cells are missing"));
  EXPECT_THAT(html, HasSubstr("9 个单元格中缺少 2 个"));
}

TEST_F(Summary, TheGuidanceTableHasARowForEachCandidate) {
  Guidance& guidance = AddGuidance({0.1, 0.2, 0.3}, 2);
  guidance.candidates[1].tokens_per_second = 12.34;
  guidance.candidates[2].p_worse = 0.0001;
  const std::string html = GuidanceSection(Data());
  EXPECT_THAT(html, HasSubstr("<caption>m: <span lang=\"en\">no budget</span><span lang=\"zh\">"
                              "不设预算</span> (nats, 2 <span lang=\"en\">tests</span>"));
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">r0 · a</th><td class=\"n\">3.25</td>"
                              "<td class=\"n\">–</td><td class=\"n\">+0.100 [+0.090, +0.110]</td>"
                              "<td class=\"n\">0.625</td><td class=\"n\"></td><td>"
                              "<span lang=\"en\">smallest loss</span>"));
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">r1</th><td class=\"n\">3.25</td>"
                              "<td class=\"n\">12.3</td>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"n\">0.030</td><td><span lang=\"en\">not worse</span>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"n\">&lt;0.001</td><td><span lang=\"en\">worse</span>"));
  EXPECT_THAT(html, Not(HasSubstr("class=\"note\"")));
}

TEST_F(Summary, TheGuidanceTableOfSharesIsInPoints) {
  Guidance& guidance = AddGuidance({0.125}, 1);
  guidance.unit = "share";
  EXPECT_THAT(GuidanceSection(Data()), HasSubstr("(percentage points, 2 "));
  EXPECT_THAT(GuidanceSection(Data()), HasSubstr("+12.5 [+11.5, +13.5]"));
  analysis_.guidance[0].unit = "float model's standard deviations";
  EXPECT_THAT(GuidanceSection(Data()), HasSubstr("(float model's standard deviations, 2 "));
  EXPECT_THAT(GuidanceSection(Data()), HasSubstr("+0.125 [+0.115, +0.135]"));
}

TEST_F(Summary, WhatTheGuidanceTableLeavesOutIsSaid) {
  AddGuidance({}, 0);
  EXPECT_THAT(GuidanceSection(Data()), Not(HasSubstr("<table")));
  analysis_.guidance.clear();
  Guidance& guidance = AddGuidance(std::vector<double>(26, 0.5), 26);
  guidance.left_out = 3;
  guidance.tests_left_out = {"t<1", "u"};
  const std::string html = GuidanceSection(Data());
  EXPECT_EQ(CountOf(html, "<th scope=\"row\">"), 25u);
  EXPECT_THAT(html, HasSubstr("The first 25 of 26; 3 more are over the budget"));
  EXPECT_THAT(html, HasSubstr("共 26 个，最多显示 25 个；另有 3 个"));
  EXPECT_THAT(html, HasSubstr("losses are all equal: t&lt;1, u."));
  EXPECT_THAT(html, HasSubstr("未计入平均：t&lt;1, u。"));
}

}  // namespace
}  // namespace qualm
