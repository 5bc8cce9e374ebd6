// The sections that are charts, and the tables of proxies and layers.
#include <gmock/gmock.h>

#include "support/report_study.h"

namespace qualm {
namespace {

using testing::Chosen;
using testing::CountOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Plots : public testing::ReportStudy {
 protected:
  void Compare(const std::string& recipe, const std::string& calibration, double difference,
               double p_holm) {
    CalibrationComparison one;
    one.model = "m";
    one.recipe = recipe;
    one.test = "t";
    one.calibration = calibration;
    one.difference = Chosen(difference, difference - 0.125, difference + 0.125, 0.5);
    one.p_holm = p_holm;
    analysis_.comparisons.push_back(one);
  }

  void AddCandidate(const std::string& recipe, const std::string& calibration, double bits,
                    double speed, double loss) {
    if (analysis_.guidance.empty()) {
      Guidance guidance;
      guidance.model = "m";
      guidance.unit = "nats";
      analysis_.guidance.push_back(guidance);
    }
    Candidate one;
    one.recipe = recipe;
    one.calibration = calibration;
    one.bits = bits;
    one.tokens_per_second = speed;
    one.loss = Chosen(loss, loss - 0.125, loss + 0.125, 0.5);
    analysis_.guidance[0].candidates.push_back(one);
  }

  void AddCalibration(const std::string& name, size_t samples, size_t length,
                      const std::string& again = "") {
    CalibrationSpec set;
    set.name = name;
    set.sampler.samples = samples;
    set.sampler.length = length;
    set.again = again;
    plan_.spec.calibrations.push_back(set);
  }
};

TEST_F(Plots, DifferencesNeedComparisons) { EXPECT_EQ(ForestSection(Data()), ""); }

TEST_F(Plots, DifferencesAreFilledWhereTheyAreSignificant) {
  AddTextTest("t");
  Compare("r", "a", 0.5, 0.049);
  Compare("r", "b", -0.5, 0.01);
  Compare("r", "c", 0.25, 0.05);
  Compare("r", "d", 0.25, NAN);
  const std::string html = ForestSection(Data());
  EXPECT_THAT(html, HasSubstr("class=\"dot worse\"><title>t ← a: 0.5 [0.375, 0.625]</title>"));
  EXPECT_THAT(html, HasSubstr("class=\"dot better\"><title>t ← b: −0.5 [−0.625, −0.375]</title>"));
  EXPECT_THAT(html, HasSubstr("class=\"dot ns\"><title>t ← c: "));
  EXPECT_THAT(html, HasSubstr("class=\"dot ns\"><title>t ← d: "));
  EXPECT_THAT(html, HasSubstr("aria-label=\"r: 4 paired differences with 95 % intervals"));
  EXPECT_THAT(html, HasSubstr("data-zh=\"r：4 个配对差异及 95% 区间"));
  EXPECT_THAT(html, HasSubstr("loss − loss when calibrated IID, nats</text>"));
}

TEST_F(Plots, DifferencesOfSharesAreInPoints) {
  AddTaskTest("t", "qa");
  AddGroup("float", "-", "t");
  Compare("r", "a", 0.5, 0.01);
  EXPECT_THAT(ForestSection(Data()), HasSubstr("<title>t ← a: 50 [37.5, 62.5]</title>"));
  EXPECT_THAT(ForestSection(Data()), HasSubstr("calibrated IID, percentage points</text>"));
}

TEST_F(Plots, TheFirstFourChartsOfDifferencesAreOpen) {
  for (int i = 0; i < 5; ++i) Compare(StrCat("r", i), "a", 0.5, 0.5);
  Compare("r0", "b", 0.5, 0.5);  // belongs to the first chart
  const std::string html = ForestSection(Data());
  EXPECT_EQ(CountOf(html, "<details open>"), 4u);
  EXPECT_EQ(CountOf(html, "<details>"), 1u);
}

TEST_F(Plots, AFrontNeedsTwoCandidatesWithoutABudget) {
  EXPECT_EQ(FrontSection(Data()), "");
  AddCandidate("gptq-w4", "a", 4, NAN, 0.5);
  EXPECT_EQ(FrontSection(Data()), "");
  AddCandidate("rtn", "-", 3, NAN, 0.75);
  EXPECT_NE(FrontSection(Data()), "");
  analysis_.guidance[0].budget.bits_per_weight = 5;
  EXPECT_EQ(FrontSection(Data()), "");
  analysis_.guidance[0].budget = {0, 5};
  EXPECT_EQ(FrontSection(Data()), "");
}

TEST_F(Plots, AFrontHasAChartForEachMeasureOfCost) {
  AddCandidate("gptq-w4-g64", "a", 4, NAN, 0.5);
  AddCandidate("gptq-w3", "b", 3, NAN, 0.75);
  AddCandidate("rtn", "-", 5, NAN, 1);
  const std::string sizes = FrontSection(Data());
  EXPECT_EQ(CountOf(sizes, "<svg"), 1u);  // no speed was measured
  EXPECT_THAT(sizes, HasSubstr("<title>gptq-w4-g64 · a: 4, 0.5</title>"));
  EXPECT_THAT(sizes, HasSubstr("<title>rtn: 5, 1</title>"));
  EXPECT_THAT(sizes, HasSubstr("<title>gptq</title>"));  // the series, in the legend
  EXPECT_THAT(sizes, HasSubstr("m: loss against bits per weight of 3 candidates"));
  EXPECT_THAT(sizes, HasSubstr("m：3 个方案的损失与每权重比特数的关系"));
  EXPECT_THAT(sizes, HasSubstr("mean loss − float, nats</text>"));

  analysis_.guidance[0].candidates[0].tokens_per_second = 20;
  analysis_.guidance[0].candidates[2].tokens_per_second = 30;
  const std::string both = FrontSection(Data());
  EXPECT_EQ(CountOf(both, "<svg"), 2u);
  EXPECT_THAT(both, HasSubstr("m: loss against decoding speed of 2 candidates"));
  EXPECT_THAT(both, HasSubstr("m：2 个方案的损失与解码速度的关系"));
  EXPECT_THAT(both, HasSubstr("<title>rtn: 30, 1</title>"));
}

TEST_F(Plots, AFrontOfSharesIsInPoints) {
  AddCandidate("a", "-", 4, NAN, 0.5);
  AddCandidate("b", "-", 3, NAN, 0.75);
  analysis_.guidance[0].unit = "share";
  EXPECT_THAT(FrontSection(Data()), HasSubstr("<title>b: 3, 75</title>"));
  EXPECT_THAT(FrontSection(Data()), HasSubstr("平均损失 − 浮点（百分点）</text>"));
}

TEST_F(Plots, ACurveJoinsSetsThatDifferInTheirSizeAlone) {
  AddTextTest("t");
  Compare("r", "a-4x16", 0.5, 0.5);
  AddCalibration("a-4x16", 4, 16);
  AddCalibration("a-8x16", 8, 16);
  AddCalibration("a-4x32", 4, 32);            // another length: another curve, of one point
  AddCalibration("random", 4, 16);            // its name says no size
  AddCalibration("b-8x16", 8, 16, "a-8x16");  // a twin
  double value = 0.25;
  for (const CalibrationSpec& set : plan_.spec.calibrations) {
    AddCell("r", set.name, "t", Chosen(value, value - 0.125, value + 0.125, 0.5));
    value += 0.25;
  }
  AddCell("r", "-", "t", Chosen(9, 8, 10, 0.5));
  AddCell("s", "a-4x16", "t", Chosen(8, 7, 9, 0.5));
  const std::string html = SizeSection(Data());
  EXPECT_EQ(CountOf(html, "<svg"), 1u);
  EXPECT_THAT(html, HasSubstr("<title>a × 16: 64, 0.25</title>"));
  EXPECT_THAT(html, HasSubstr("<title>a × 16: 128, 0.5</title>"));
  EXPECT_EQ(CountOf(html, "<circle"), 3u);  // two points and the legend
  EXPECT_THAT(html, HasSubstr("r on t: loss against the number of calibration tokens"));
  EXPECT_THAT(html, HasSubstr("r，t：损失与校准词元数的关系"));
  EXPECT_THAT(html, HasSubstr("loss − float: log perplexity, nats</text>"));
}

TEST_F(Plots, ASingleSizeIsNoCurve) {
  AddTextTest("t");
  Compare("r", "a-4x16", 0.5, 0.5);
  AddCalibration("a-4x16", 4, 16);
  AddCell("r", "a-4x16", "t", Chosen(0.5, 0, 1, 0.5));
  EXPECT_EQ(SizeSection(Data()), "");
}

TEST_F(Plots, ProxiesAreRankCorrelationsWithIntervals) {
  EXPECT_EQ(ProxySection(Data()), "");
  analysis_.proxies.push_back({"m", "KL on stories", "q<1", 12, 0.5, -0.25, 0.75});
  analysis_.proxies.push_back({"m", "ppl", "", 2, NAN, NAN, NAN});
  const std::string html = ProxySection(Data());
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">KL on stories</th><td>q&lt;1</td>"
                              "<td class=\"n\">12</td><td class=\"n\">+0.50 [−0.25, +0.75]</td>"));
  EXPECT_THAT(html, HasSubstr("<span lang=\"en\">mean of all tasks</span><span lang=\"zh\">"
                              "全部任务平均</span></td><td class=\"n\">2</td>"
                              "<td class=\"n\">– [–, –]</td>"));
}

TEST_F(Plots, LayersAreMeansOverArtefactsEachCountedOnce) {
  AddTextTest("t");
  AddGroup("r", "a", "t").quantize_keys = {"q1", "q2"};
  AddGroup("r", "b", "t").quantize_keys = {"q2", "not done"};
  const auto layer = [](const char* name, double held_out, double calibration, bool fell_back) {
    LayerOutcome one;
    one.name = name;
    one.held_out = held_out;
    one.calibration = calibration;
    one.fell_back = fell_back;
    return one;
  };
  QuantizeOutcome first, second;
  first.layers = {layer("up", 0.25, 0.125, true), layer("down", 0.5, 0.25, false)};
  second.layers = {layer("up", 0.5, 0.375, false), layer("down", NAN, 0.75, false)};
  WriteRecord("q1", first);
  WriteRecord("q2", second);
  const std::string html = LayerSection(Data());
  // up: (0.25 + 0.5) / 2, the largest mean that exists; its bar is whole.
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">up</th><td class=\"n\">0.2500</td>"
                              "<td class=\"n\"><span class=\"meter\" style=\"--w:100%\">0.3750"
                              "</span></td><td class=\"n\">2</td><td class=\"n\">1</td></tr>"));
  // down: one of two artefacts held nothing out.
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">down</th><td class=\"n\">0.5000</td>"
                              "<td class=\"n\"><span class=\"meter\" style=\"--w:0%\">–</span></td>"
                              "<td class=\"n\">2</td><td class=\"n\">0</td></tr>"));
  EXPECT_LT(html.find(">up<"), html.find(">down<"));  // in the model's order
}

TEST_F(Plots, LayersWithoutErrorsAreLeftOut) {
  EXPECT_EQ(LayerSection(Data()), "");
  AddTextTest("t");
  AddGroup("rtn", "-", "t").quantize_keys = {"q1", "q2"};
  QuantizeOutcome without_errors;
  without_errors.layers.resize(1);
  WriteRecord("q1", without_errors);
  WriteRecord("q2", QuantizeOutcome{});
  EXPECT_EQ(LayerSection(Data()), "");
}

}  // namespace
}  // namespace qualm
