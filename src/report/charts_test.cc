#include "report/charts.h"

#include <gmock/gmock.h>

#include <cmath>

#include "support/report_study.h"

namespace qualm {
namespace {

using testing::CountOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const LocalText kAxis = {"loss & more", "损失"};
const LocalText kYAxis = {"speed", "速度"};
const LocalText kDescription = {"what \"it\" shows", "说明"};

TEST(AxisTicks, AreRoundNumbersAroundTheRange) {
  // Steps of 1, 2, 2.5, 5 and 10 times a power of ten: the smallest with few enough of them.
  EXPECT_THAT(AxisTicks(0, 4, 4), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(AxisTicks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(AxisTicks(0, 9, 4), ElementsAre(0, 2.5, 5, 7.5, 10));
  EXPECT_THAT(AxisTicks(3, 17, 4), ElementsAre(0, 5, 10, 15, 20));
  EXPECT_THAT(AxisTicks(-70, 20, 10), ElementsAre(-70, -60, -50, -40, -30, -20, -10, 0, 10, 20));
  EXPECT_THAT(
      AxisTicks(0.011, 0.024, 2),
      ElementsAre(DoubleNear(0.01, 1e-12), DoubleNear(0.02, 1e-12), DoubleNear(0.03, 1e-12)));
  EXPECT_THAT(AxisTicks(0, 1, 0), ElementsAre(0, 1));  // at least one step
}

TEST(ForestPlot, WithoutRowsIsAnAxisWithAZeroLine) {
  const std::string svg = ForestPlot({}, kAxis, kDescription);
  // 8 pixels above, 46 below.
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 720.0 54.0\""));
  // Labels take 12 pixels and the right margin 20: the middle is (12 + 700) / 2.
  EXPECT_THAT(svg,
              HasSubstr("<line x1=\"356.0\" y1=\"8.0\" x2=\"356.0\" y2=\"8.0\" class=\"zero\"/>"));
  EXPECT_THAT(svg, Not(HasSubstr("<circle")));
}

TEST(ForestPlot, SaysInBothLanguagesWhatItShows) {
  const std::string svg = ForestPlot({}, kAxis, kDescription);
  EXPECT_THAT(svg, StartsWith("<svg role=\"img\" aria-label=\"what &quot;it&quot; shows\" "
                              "data-en=\"what &quot;it&quot; shows\" data-zh=\"说明\""));
  EXPECT_THAT(svg, HasSubstr("<text lang=\"en\" x=\"366.0\" y=\"46.0\" text-anchor=\"middle\">"
                             "loss &amp; more</text>"));
  EXPECT_THAT(svg, HasSubstr("<text lang=\"zh\" x=\"366.0\" y=\"46.0\" text-anchor=\"middle\">"
                             "损失</text>"));
}

TEST(ForestPlot, FillsWhatIsSignificantAndTellsBetterFromWorse) {
  const std::string svg = ForestPlot({{"a<b", 0.1, 0.05, 0.15, true},
                                      {"better", -0.2, -0.3, -0.1, true},
                                      {"neither", 0.02, -0.01, 0.05, false}},
                                     kAxis, kDescription);
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 720.0 120.0\""));  // 54 and 22 for each row
  EXPECT_THAT(svg, HasSubstr("class=\"dot worse\"><title>a&lt;b: 0.1 [0.05, 0.15]</title>"));
  EXPECT_THAT(svg, HasSubstr("class=\"dot better\"><title>better: −0.2 [−0.3, −0.1]</title>"));
  EXPECT_THAT(svg, HasSubstr("class=\"dot ns\"><title>neither: 0.02 [−0.01, 0.05]</title>"));
  EXPECT_EQ(CountOf(svg, "class=\"bar worse\""), 1u);
  EXPECT_EQ(CountOf(svg, "class=\"bar better\""), 1u);
  EXPECT_EQ(CountOf(svg, "class=\"bar ns\""), 1u);
  EXPECT_THAT(svg, HasSubstr(">a&lt;b</text>"));
}

TEST(ForestPlot, DrawsNoBarWhereThereIsNoInterval) {
  const std::string svg = ForestPlot({{"one", 0.1, NAN, NAN, false}}, kAxis, kDescription);
  EXPECT_EQ(CountOf(svg, "<circle"), 1u);
  EXPECT_THAT(svg, Not(HasSubstr("class=\"bar")));
}

TEST(ForestPlot, LabelsTakeAtMostHalfOfTheWidthAndChineseIsTwiceAsWide) {
  const auto label_x = [](const std::string& label) {
    const std::string svg = ForestPlot({{label, 1, 0.5, 2, true}}, kAxis, kDescription);
    const size_t end = svg.find(StrCat("\" text-anchor=\"end\">", label));
    const size_t begin = svg.rfind("x=\"", svg.rfind(" y=", end)) + 3;
    return svg.substr(begin, svg.find('"', begin) - begin);
  };
  // 4 letters of 13 · 0.56 pixels, 12 more, minus the 8 to the axis.
  EXPECT_EQ(label_x("abcd"), "33.1");
  EXPECT_EQ(label_x("校准"), "33.1");
  EXPECT_EQ(label_x("äbcd"), "33.1");
  EXPECT_EQ(label_x(std::string(100, 'a')), "352.0");  // 360 - 8
}

ScatterPoint Point(const std::string& series, double x, double y, bool is_on_front = false) {
  ScatterPoint point;
  point.label = series;
  point.series = series;
  point.x = x;
  point.y = y;
  point.low = point.high = NAN;
  point.is_on_front = is_on_front;
  return point;
}

TEST(MarkFront, KeepsWhatNothingBeats) {
  std::vector<ScatterPoint> points = {Point("small", 2, 5), Point("large", 4, 1),
                                      Point("beaten", 4, 3), Point("worse", 5, 5),
                                      Point("same", 4, 1)};
  MarkFront(points, false);
  const auto marks = [&] {
    std::vector<int> all;
    for (const ScatterPoint& point : points) all.push_back(point.is_on_front ? 1 : 0);
    return all;
  };
  EXPECT_THAT(marks(), ElementsAre(1, 1, 0, 0, 1));  // equal points do not beat each other
  MarkFront(points, true);
  EXPECT_THAT(marks(), ElementsAre(0, 1, 0, 1, 1));
  std::vector<ScatterPoint> none;
  MarkFront(none, true);
}

TEST(ScatterPlot, WithoutPointsIsAnEmptyFrame) {
  const std::string svg = ScatterPlot({}, kAxis, kYAxis, kDescription);
  // One row of a legend (20), 36 above the plot, 300 of it and 46 below.
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 720.0 402.0\""));
  EXPECT_THAT(svg, Not(HasSubstr("<circle")));
  EXPECT_THAT(svg, HasSubstr("<path d=\"\" class=\"front\"/>"));
}

TEST(ScatterPlot, PutsASinglePointInTheMiddle) {
  const std::string svg = ScatterPlot({Point("a", 2, 3, true)}, kAxis, kYAxis, kDescription);
  // x from 60 to 700, y from 356 up to 56.
  EXPECT_THAT(svg, HasSubstr("<circle cx=\"380.0\" cy=\"206.0\" r=\"4.5\" class=\"dot s0\">"
                             "<title>a: 2, 3</title>"));
  EXPECT_THAT(svg, HasSubstr("<path d=\"M380.0 206.0\" class=\"front\"/>"));
  EXPECT_THAT(svg, Not(HasSubstr("class=\"bar")));
}

TEST(ScatterPlot, JoinsTheFrontInTheOrderOfX) {
  const std::string svg = ScatterPlot(
      {Point("a", 3, 1, true), Point("b", 1, 3, true), Point("a", 2, 2, true), Point("a", 3, 3)},
      kAxis, kYAxis, kDescription);
  EXPECT_THAT(svg, HasSubstr("<path d=\"M60.0 56.0L380.0 206.0L700.0 356.0\" class=\"front\"/>"));
  // Two series: a dot for each in the legend, and one for each point.
  EXPECT_EQ(CountOf(svg, "class=\"dot s0\""), 4u);
  EXPECT_EQ(CountOf(svg, "class=\"dot s1\""), 2u);
  for (const char* name : {"loss &amp; more", "损失", "speed", "速度"}) {
    EXPECT_THAT(svg, HasSubstr(StrCat(">", name, "</text>")));
  }
}

TEST(ScatterPlot, DrawsIntervalsThatExist) {
  ScatterPoint point = Point("a", 1, 2);
  point.low = 1;
  point.high = 3;
  const std::string svg = ScatterPlot({point, Point("a", 3, 2)}, kAxis, kYAxis, kDescription);
  EXPECT_THAT(svg, HasSubstr("<line x1=\"60.0\" y1=\"356.0\" x2=\"60.0\" y2=\"56.0\" "
                             "class=\"bar s0\"/>"));
  EXPECT_EQ(CountOf(svg, "class=\"bar"), 1u);
}

TEST(ScatterPlot, RepeatsColoursFromTheNinthSeriesOnAndBreaksTheLegend) {
  std::vector<ScatterPoint> points;
  for (int i = 0; i < 9; ++i) points.push_back(Point(StrCat("series ", i), i, i));
  const std::string svg = ScatterPlot(points, kAxis, kYAxis, kDescription);
  EXPECT_EQ(CountOf(svg, "class=\"dot s0\""), 4u);  // the first and the ninth, here and there
  EXPECT_EQ(CountOf(svg, "class=\"dot s7\""), 2u);
  // A name of 8 letters takes 8 · 7.28 + 30 pixels: seven fit in a row, so there are two.
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 720.0 422.0\""));
  EXPECT_THAT(svg, HasSubstr("<circle cx=\"60.0\" cy=\"32.0\""));  // the second row: 16 + 20 - 4
}

LineSeries Curve(const std::string& label, const std::vector<double>& x,
                 const std::vector<double>& y) {
  LineSeries one;
  one.label = label;
  one.x = x;
  one.y = y;
  one.low.assign(x.size(), NAN);
  one.high.assign(x.size(), NAN);
  return one;
}

TEST(LinePlot, OfNothingIsNothing) {
  EXPECT_EQ(LinePlot({}, kAxis, kYAxis, kDescription), "");
  EXPECT_EQ(LinePlot({Curve("empty", {}, {})}, kAxis, kYAxis, kDescription), "");
}

TEST(LinePlot, PutsASingleSizeInTheMiddle) {
  const std::string svg = LinePlot({Curve("a", {100}, {0.5})}, kAxis, kYAxis, kDescription);
  // x from 70 to 690, y from 336 up to 56.
  EXPECT_THAT(svg, HasSubstr("<circle cx=\"380.0\" cy=\"196.0\" r=\"4.5\" class=\"dot s0\">"
                             "<title>a: 100, 0.5</title>"));
  EXPECT_THAT(svg, HasSubstr("<path d=\"M380.0 196.0\" class=\"line s0\"/>"));
}

TEST(LinePlot, HasALogarithmicAxisOfTheSizesThatWereUsed) {
  LineSeries curve = Curve("a<b", {100, 1000, 10000}, {1, 2, 3});
  curve.low = {1, NAN, 2};
  curve.high = {2, NAN, 3};
  const std::string svg =
      LinePlot({curve, Curve("second", {101, 10000}, {1, 1})}, kAxis, kYAxis, kDescription);
  EXPECT_THAT(svg, HasSubstr("M70.0 336.0L380.0 196.0L690.0 56.0\" class=\"line s0\""));
  EXPECT_EQ(CountOf(svg, "class=\"bar s0\""), 2u);  // one point has no interval
  EXPECT_EQ(CountOf(svg, "class=\"bar s1\""), 0u);
  EXPECT_THAT(svg, HasSubstr(">100</text>"));
  EXPECT_THAT(svg, HasSubstr(">1000</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">101</text>")));  // would lie on the 100
  EXPECT_THAT(svg, HasSubstr(">a&lt;b</text>"));
  EXPECT_THAT(svg, HasSubstr("<title>second: 101, 1</title>"));
}

TEST(Ticks, HaveNoNeedlessZerosAndARealMinusSign) {
  const std::string svg = ForestPlot({{"a", -1, -1.5, -0.5, true}}, kAxis, kDescription);
  EXPECT_THAT(svg, HasSubstr(">−1.5</text>"));
  EXPECT_THAT(svg, HasSubstr(">−1</text>"));
  EXPECT_THAT(svg, HasSubstr(">0</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">-")));
}

}  // namespace
}  // namespace qualm
