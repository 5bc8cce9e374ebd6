// The heat maps, the table of all cells and the controls.
#include <gmock/gmock.h>

#include "report/html.h"
#include "support/report_study.h"

namespace qualm {
namespace {

using testing::Chosen;
using testing::CountOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Tables : public testing::ReportStudy {
 protected:
  // A comparison of a calibration set with the test's own kind.
  void Compare(const std::string& calibration, const std::string& test, double difference,
               double p_holm) {
    CalibrationComparison one;
    one.model = "m";
    one.recipe = "r";
    one.test = test;
    one.calibration = calibration;
    one.difference = Chosen(difference, difference - 0.01, difference + 0.01, p_holm);
    one.p_holm = p_holm;
    analysis_.comparisons.push_back(one);
  }
};

TEST_F(Tables, AHeatMapNeedsACalibratedRecipe) {
  EXPECT_EQ(HeatMapSection(Data()), "");
  AddTextTest("t");
  AddCell("rtn", "-", "t", Chosen(0.1, 0, 0.2, 0.5));
  EXPECT_EQ(HeatMapSection(Data()), "");
}

TEST_F(Tables, AHeatMapShadesEachTestFromItsSmallestToItsLargestLoss) {
  AddTextTest("t");
  AddCell("r", "a", "t", Chosen(0.1, 0, 1, 0.5));
  AddCell("r", "b", "t", Chosen(0.2, 0, 1, 0.5));
  AddCell("r", "c", "t", Chosen(0.5, 0, 1, 0.5));
  const std::string html = HeatMapSection(Data());
  // 0, 45 · 0.1 / 0.4 and 45 percent.
  EXPECT_THAT(html, HasSubstr("style=\"--h:0%\">+0.100<br><small>± 0.500</small>"));
  EXPECT_THAT(html, HasSubstr("style=\"--h:11%\">+0.200<"));
  EXPECT_THAT(html, HasSubstr("style=\"--h:45%\">+0.500<"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"col\">t<br><small><span lang=\"en\">log perplexity, nats"
                              "</span><span lang=\"zh\">对数困惑度（nats）</span></small></th>"));
}

TEST_F(Tables, AHeatMapOfEqualLossesHasNoShade) {
  AddTextTest("t");
  AddCell("r", "a", "t", Chosen(0.3, 0, 1, 0.5));
  AddCell("r", "b", "t", Chosen(0.3, 0, 1, 0.5));
  EXPECT_EQ(CountOf(HeatMapSection(Data()), "--h:0%"), 2u);
}

TEST_F(Tables, AHeatMapMarksWhatDiffersSignificantlyFromIid) {
  AddTextTest("t");
  for (const char* set : {"iid", "worse", "better", "at the limit", "no p", "alone"}) {
    AddCell("r", set, "t", Chosen(0.3, 0, 1, 0.5));
  }
  table_.cells[0].relation = Relation::kIid;
  Compare("worse", "t", 0.2, 0.049);
  Compare("better", "t", -0.2, 0.049);
  Compare("at the limit", "t", 0.2, 0.05);
  Compare("no p", "t", 0.2, NAN);
  const std::string html = HeatMapSection(Data());
  EXPECT_EQ(CountOf(html, "<span class=\"mark\""), 2u);
  const auto row = [&](const std::string& set) {
    const size_t begin = html.find(StrCat("<th scope=\"row\">", set));
    return html.substr(begin, html.find("</tr>", begin) - begin);
  };
  EXPECT_THAT(row("worse"), HasSubstr("title=\"worse than IID (Holm p &lt; 0.05)\">▲</span>"));
  EXPECT_THAT(row("better"), HasSubstr("title=\"better than IID (Holm p &lt; 0.05)\">▼</span>"));
  EXPECT_THAT(row("iid"), HasSubstr("class=\"n heat iid\""));
  EXPECT_EQ(CountOf(html, "data-iid"), 1u);
}

TEST_F(Tables, AHeatMapShowsSharesInPointsAndMissingCellsAsDashes) {
  AddTextTest("t");
  AddTaskTest("q", "qa");
  AddCell("r", "a", "t", Chosen(0.1, 0, 1, 0.5));
  AddCell("r", "b", "t", Chosen(NAN, NAN, NAN, NAN));
  AddCell("r", "b", "q", Chosen(0.125, 0, 1, 0.5));
  const std::string html = HeatMapSection(Data());
  EXPECT_THAT(html, HasSubstr("+12.5<br><small>± 50.0</small>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"n\">–</td>"));                // a on q is not done
  EXPECT_THAT(html, HasSubstr("style=\"--h:0%\">–<br><small>± 0.500"));  // b on t has no value
}

TEST_F(Tables, TheFirstSixHeatMapsAreOpen) {
  AddTextTest("t");
  for (int i = 0; i < 7; ++i) AddCell(StrCat("r", i), "a", "t", Chosen(0.1, 0, 1, 0.5));
  const std::string html = HeatMapSection(Data());
  EXPECT_EQ(CountOf(html, "<details open>"), 6u);
  EXPECT_EQ(CountOf(html, "<details>"), 1u);
}

TEST_F(Tables, TheTableOfAllCellsShowsEveryNumberOfATask) {
  AddTaskTest("q", "qa");
  AddCell("r<1", "a", "q", Chosen(0.05, 0.02, 0.08, 0.0004), 0.0123);
  table_.cells[0].relation = Relation::kIid;
  EXPECT_THAT(
      CellSection(Data()),
      HasSubstr(
          "<tr data-row data-model=\"m\" data-recipe=\"r&lt;1\" data-calibration=\"a\" "
          "data-test=\"q\" data-relation=\"iid\"><th scope=\"row\">r&lt;1</th><td>a</td><td>q</td>"
          "<td><span lang=\"en\">IID</span><span lang=\"zh\">同分布</span></td>"
          "<td class=\"n\">40 / 4 / 3</td>"         // items, clusters, seeds
          "<td class=\"n\">0.5000 ± 0.0100</td>"    // score
          "<td class=\"n\">0.7500</td>"             // the float model's
          "<td class=\"n\">+5.0 [+2.0, +8.0]</td>"  // loss in percentage points
          "<td class=\"n\">&lt;0.001</td><td class=\"n\">0.012</td>"
          "<td class=\"n\">+0.25</td><td class=\"n\">12.5</td>"  // effect size, detectable
          "<td class=\"n\">2/3</td><td class=\"n\">0.0123</td>"  // seeds that agree, KL
          "<td class=\"n\">1.5 / 0.5</td><td class=\"n\">5.0 %</td></tr>"));
}

TEST_F(Tables, TheTableOfAllCellsHasDashesForWhatATextOrOneSeedDoesNotHave) {
  AddTextTest("t");
  CellSummary& summary = AddCell("r", "-", "t", Chosen(0.05, NAN, NAN, NAN), NAN);
  summary.score_deviation = NAN;
  summary.excess.seeds = summary.excess.seeds_agreeing = 1;
  table_.cells[0].excess = LossTable(std::vector<double>(4, 10));
  table_.cells[0].excess.AddSeed({1, 1, 1, 1});
  table_.cells[0].kl = table_.cells[0].overlap = NAN;
  const std::string html = CellSection(Data());
  EXPECT_THAT(html, HasSubstr("<td class=\"n\">40 / 4 / 1</td><td class=\"n\">0.500</td>"
                              "<td class=\"n\">0.750</td><td class=\"n\">+0.050 [–, –]</td>"
                              "<td class=\"n\">–</td><td class=\"n\">–</td>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"n\">1/1</td><td class=\"n\">–</td>"
                              "<td class=\"n\">–</td><td class=\"n\">–</td></tr>"));
}

TEST_F(Tables, FiltersOfferOnlyWhatThereIsToChoose) {
  EXPECT_EQ(CellSection(Data()), "");
  AddTextTest("t");
  AddCell("r", "a", "t", Chosen(0.1, 0, 1, 0.5));
  EXPECT_THAT(CellSection(Data()), Not(HasSubstr("<select")));
  AddCell("r", "b<c", "t", Chosen(0.2, 0, 1, 0.5));
  const std::string html = CellSection(Data());
  EXPECT_EQ(CountOf(html, "<select"), 1u);
  EXPECT_THAT(html, HasSubstr("<span lang=\"zh\">校准集</span> <select data-filter=\"calibration\">"
                              "<option value=\"\" data-en=\"all\" data-zh=\"全部\">all</option>"
                              "<option>a</option><option>b&lt;c</option></select>"));
}

TEST_F(Tables, ControlsNeedGapsOrTwins) {
  EXPECT_EQ(ControlSection(Data()), "");
  analysis_.false_alarms.comparisons = 8;
  analysis_.false_alarms.alarms = 1;
  analysis_.false_alarms.interval = {0.003, 0.527};
  analysis_.false_alarms.splits = 20;
  analysis_.false_alarms.split_alarms = 2;
  const std::string html = ControlSection(Data());
  EXPECT_THAT(html, HasSubstr("p &lt; 0.05 in 1 of 8 comparisons"));
  EXPECT_THAT(html, HasSubstr("0.3 % to 52.7 %"));
  EXPECT_THAT(html, HasSubstr("into halves: 2 of 20."));
  EXPECT_THAT(html, HasSubstr("在 8 次比较中有 1 次"));
  EXPECT_THAT(html, HasSubstr("20 次中有 2 次"));
  EXPECT_THAT(html, Not(HasSubstr("<table")));
}

TEST_F(Tables, AGapIsShownWithWhatCouldHaveBeenFound) {
  AddTaskTest("q", "qa");
  AddGroup("float", "-", "q");
  GeneralizationGap gap;
  gap.model = "m";
  gap.recipe = "r";
  gap.relation = Relation::kCrossTask;
  gap.tests = 5;
  gap.gap = Chosen(-0.01, -0.03, 0.01, 0.25);
  gap.p_holm = 0.5;
  analysis_.gaps.push_back(gap);
  const std::string html = ControlSection(Data());
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">r</th><td><span lang=\"en\">other task</span>"
                              "<span lang=\"zh\">跨任务</span></td><td class=\"n\">5</td>"
                              "<td class=\"n\">−1.0 [−3.0, +1.0]</td><td class=\"n\">0.250</td>"
                              "<td class=\"n\">0.500</td><td class=\"n\">2/3</td>"
                              "<td class=\"n\">12.5</td></tr>"));
  EXPECT_THAT(html, Not(HasSubstr("A/A")));
}

}  // namespace
}  // namespace qualm
