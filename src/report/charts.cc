// Draws the report's charts as SVG text: rows of numbers in, one <svg> element out. Every chart
// follows the same steps: collect the limits of both axes, make scales from data to pixels, draw
// the axes, then the data on top.
#include "report/charts.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "report/html.h"

namespace qualm {
namespace {

constexpr double kWidth = 720, kFontSize = 13;  // pixels; the page scales the drawing to its width

std::string Coordinate(double value) { return Fixed(value, 1); }

// A tick's label without needless zeros: "0.5", not "0.5000".
std::string TickText(double value) {
  std::string text = Fixed(std::abs(value) < 1e-12 ? 0 : value, 4);
  while (text.find('.') != std::string::npos && (text.back() == '0' || text.back() == '.')) {
    const bool was_point = text.back() == '.';
    text.pop_back();
    if (was_point) break;
  }
  if (text.starts_with("-")) text = StrCat("−", text.substr(1));
  return text;
}

// Collects SVG elements. The constructor opens the drawing, the other functions append to it in
// drawing order, and End closes it. CSS classes carry all colours.
class Svg {
 public:
  Svg(double width, double height, const LocalText& description)
      : html_(StrCat("<svg role=\"img\" aria-label=\"", Escape(description.en), "\" data-en=\"",
                     Escape(description.en), "\" data-zh=\"", Escape(description.zh),
                     "\" viewBox=\"0 0 ", Coordinate(width), " ", Coordinate(height),
                     "\" class=\"chart\">\n")) {}

  void Line(double x1, double y1, double x2, double y2, std::string_view css) {
    html_ += StrCat("<line x1=\"", Coordinate(x1), "\" y1=\"", Coordinate(y1), "\" x2=\"",
                    Coordinate(x2), "\" y2=\"", Coordinate(y2), "\" class=\"", css, "\"/>");
  }
  void Dot(double x, double y, std::string_view css, std::string_view title) {
    html_ += StrCat("<circle cx=\"", Coordinate(x), "\" cy=\"", Coordinate(y),
                    "\" r=\"4.5\" class=\"", css, "\"><title>", Escape(title), "</title></circle>");
  }
  // `anchor` is the part of the text that lies at x: start, middle or end.
  void Text(double x, double y, const std::string& text, std::string_view anchor) {
    html_ += StrCat("<text x=\"", Coordinate(x), "\" y=\"", Coordinate(y), "\" text-anchor=\"",
                    anchor, "\">", Escape(text), "</text>\n");
  }
  // Both languages at the same place; the page shows one of them.
  void Text(double x, double y, const LocalText& text, std::string_view anchor) {
    for (const auto& [language, words] : {std::pair("en", text.en), std::pair("zh", text.zh)}) {
      html_ += StrCat("<text lang=\"", language, "\" x=\"", Coordinate(x), "\" y=\"", Coordinate(y),
                      "\" text-anchor=\"", anchor, "\">", Escape(words), "</text>\n");
    }
  }
  void Path(const std::vector<std::pair<double, double>>& points, std::string_view css) {
    std::string d;
    for (const auto& [x, y] : points) {
      d += StrCat(d.empty() ? "M" : "L", Coordinate(x), " ", Coordinate(y));
    }
    html_ += StrCat("<path d=\"", d, "\" class=\"", css, "\"/>");
  }
  std::string End() { return html_ + "</svg>\n"; }

 private:
  std::string html_;
};

// Maps data values to pixels, linearly or by their logarithm.
struct Scale {
  double low = 0, high = 1, from = 0, to = 1;
  bool is_log = false;
  double operator()(double value) const {
    const double a = is_log ? std::log(low) : low, b = is_log ? std::log(high) : high;
    const double v = is_log ? std::log(value) : value;
    return b > a ? from + (v - a) / (b - a) * (to - from) : (from + to) / 2;
  }
};

// A scale with round limits that contain all finite values.
Scale ScaleOf(const std::vector<double>& values, double from, double to) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }

  // Without any value, or with a single one, the axis still needs some length.
  if (low > high) {
    low = 0;
    high = 1;
  }
  if (low == high) {
    low -= 0.5;
    high += 0.5;
  }

  const std::vector<double> ticks = AxisTicks(low, high, 6);
  return {std::min(low, ticks.front()), std::max(high, ticks.back()), from, to};
}

// The ticks inside the scale: rounding its limits may have changed the step.
std::vector<double> TicksOn(const Scale& scale, size_t wanted) {
  std::vector<double> ticks = AxisTicks(scale.low, scale.high, wanted);

  // Steps accumulate rounding errors, so a tick may miss its limit by a little.
  const double slack = 1e-9 * (scale.high - scale.low);
  std::erase_if(ticks,
                [&](double tick) { return tick < scale.low - slack || tick > scale.high + slack; });
  return ticks;
}

// Series beyond the eighth repeat colours.
std::string SeriesClass(size_t index) { return StrCat("s", index % 8); }

// An estimate of the text's width in pixels: Chinese characters are twice as wide as letters.
double TextWidth(std::string_view text) {
  double width = 0;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    // UTF-8: the first byte of a character says how long it is; the bytes that follow are not
    // counted.
    if (byte < 0x80) width += 1;
    if (byte >= 0xC0) width += byte >= 0xE0 ? 2 : 1;
  }
  return width * kFontSize * 0.56;
}

// Grid lines and labels of y, ticks and labels of x, and the names of both axes.
void DrawAxes(Svg& svg, const Scale& x, const Scale& y, const std::vector<double>& x_ticks,
              const LocalText& x_axis, const LocalText& y_axis) {
  // y goes down in pixels, so a label is placed relative to its line.
  for (double tick : TicksOn(y, 6)) {
    svg.Line(x.from, y(tick), x.to, y(tick), "grid");
    svg.Text(x.from - 6, y(tick) + 4, TickText(tick), "end");
  }

  for (double tick : x_ticks) {
    svg.Line(x(tick), y.from, x(tick), y.from + 5, "axis");
    svg.Text(x(tick), y.from + 19, TickText(tick), "middle");
  }

  svg.Line(x.from, y.from, x.to, y.from, "axis");

  // The names: x below the middle, y above the axis.
  svg.Text((x.from + x.to) / 2, y.from + 38, x_axis, "middle");
  svg.Text(8, y.to - 12, y_axis, "start");
}

// A dot and a name for each series, in as many rows as they need.
void DrawLegend(Svg& svg, const std::vector<std::string>& series, double top) {
  double x = 60, y = top;
  for (size_t i = 0; i < series.size(); ++i) {
    const double width = TextWidth(series[i]) + 30;
    if (x + width > kWidth) {
      x = 60;
      y += 20;
    }

    svg.Dot(x, y - 4, StrCat("dot ", SeriesClass(i)), series[i]);
    svg.Text(x + 9, y, series[i], "start");
    x += width;
  }
}

// The height that DrawLegend will use; it breaks rows in the same way.
double LegendHeight(const std::vector<std::string>& series) {
  double x = 60, rows = 1;
  for (const std::string& one : series) {
    const double width = TextWidth(one) + 30;
    if (x + width > kWidth) {
      x = 60;
      ++rows;
    }
    x += width;
  }
  return rows * 20;
}

}  // namespace

std::vector<double> AxisTicks(double low, double high, size_t wanted) {
  const double span = std::max(high - low, 1e-300);
  const double raw = span / static_cast<double>(std::max<size_t>(1, wanted));
  const double power = std::pow(10, std::floor(std::log10(raw)));

  // The smallest of 1, 2, 2.5, 5 and 10 times a power of ten that gives few enough ticks.
  double step = 10 * power;
  for (double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= raw) {
      step = factor * power;
      break;
    }
  }

  // The first tick lies at or below `low`, the last at or above `high`.
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9);
  for (double i = first; (i - 1) * step < high - 1e-9 * step && ticks.size() < 50; ++i) {
    ticks.push_back(i * step);
  }
  return ticks;
}

std::string ForestPlot(const std::vector<ForestRow>& rows, const LocalText& axis,
                       const LocalText& description) {
  // The labels take the left part, at most half of the width; 0 is always on the axis.
  constexpr double kRow = 22, kTop = 8;
  double labels = 0;
  std::vector<double> values = {0};
  for (const ForestRow& row : rows) {
    labels = std::max(labels, TextWidth(row.label));
    values.insert(values.end(), {row.low, row.high, row.value});
  }
  labels = std::min(labels + 12, 0.5 * kWidth);

  // The axis lies below the last row.
  const double bottom = kTop + kRow * static_cast<double>(rows.size());
  Svg svg(kWidth, bottom + 46, description);
  const Scale x = ScaleOf(values, labels, kWidth - 20);
  for (double tick : TicksOn(x, 6)) {
    svg.Line(x(tick), kTop, x(tick), bottom, "grid");
    svg.Text(x(tick), bottom + 18, TickText(tick), "middle");
  }
  svg.Line(x(0), kTop, x(0), bottom, "zero");
  svg.Text((labels + kWidth) / 2, bottom + 38, axis, "middle");

  // One row per value: its label, its interval, and a dot that tells the numbers on hover.
  for (size_t i = 0; i < rows.size(); ++i) {
    const ForestRow& row = rows[i];
    const double y = kTop + kRow * (static_cast<double>(i) + 0.5);
    svg.Text(labels - 8, y + 4, row.label, "end");
    const char* css = row.value > 0 ? "worse" : "better";
    if (!row.is_significant) css = "ns";
    if (std::isfinite(row.low)) svg.Line(x(row.low), y, x(row.high), y, StrCat("bar ", css));
    svg.Dot(x(row.value), y, StrCat("dot ", css),
            StrCat(row.label, ": ", TickText(row.value), " [", TickText(row.low), ", ",
                   TickText(row.high), "]"));
  }
  return svg.End();
}

void MarkFront(std::vector<ScatterPoint>& points, bool larger_x_is_better) {
  for (ScatterPoint& one : points) {
    // Beaten: another point is at least as good in both directions and better in one.
    one.is_on_front = std::ranges::none_of(points, [&](const ScatterPoint& other) {
      const double gain = larger_x_is_better ? other.x - one.x : one.x - other.x;
      return gain >= 0 && other.y <= one.y && (gain > 0 || other.y < one.y);
    });
  }
}

std::string ScatterPlot(const std::vector<ScatterPoint>& points, const LocalText& x_axis,
                        const LocalText& y_axis, const LocalText& description) {
  std::vector<std::string> series;
  std::vector<double> xs, ys;
  for (const ScatterPoint& point : points) {
    if (std::ranges::find(series, point.series) == series.end()) series.push_back(point.series);
    xs.push_back(point.x);
    ys.insert(ys.end(), {point.y, point.low, point.high});
  }

  // The legend lies above the plot, so its height decides where the plot begins.
  const double top = LegendHeight(series) + 36, bottom = top + 300;
  Svg svg(kWidth, bottom + 46, description);
  DrawLegend(svg, series, 16);
  // The left margin leaves room for the labels of y.
  const Scale x = ScaleOf(xs, 60, kWidth - 20), y = ScaleOf(ys, bottom, top);
  DrawAxes(svg, x, y, TicksOn(x, 8), x_axis, y_axis);

  // The line of the front comes first, below the points.
  std::vector<std::pair<double, double>> front;
  for (const ScatterPoint& point : points) {
    if (point.is_on_front) front.emplace_back(x(point.x), y(point.y));
  }
  std::ranges::sort(front);
  svg.Path(front, "front");

  for (const ScatterPoint& point : points) {
    const size_t index =
        static_cast<size_t>(std::ranges::find(series, point.series) - series.begin());
    if (std::isfinite(point.low)) {
      svg.Line(x(point.x), y(point.low), x(point.x), y(point.high),
               StrCat("bar ", SeriesClass(index)));
    }
    svg.Dot(x(point.x), y(point.y), StrCat("dot ", SeriesClass(index)),
            StrCat(point.label, ": ", TickText(point.x), ", ", TickText(point.y)));
  }
  return svg.End();
}

std::string LinePlot(const std::vector<LineSeries>& series, const LocalText& x_axis,
                     const LocalText& y_axis, const LocalText& description) {
  std::vector<std::string> labels;
  std::vector<double> xs, ys;
  for (const LineSeries& one : series) {
    labels.push_back(one.label);
    xs.insert(xs.end(), one.x.begin(), one.x.end());
    for (const std::vector<double>* values : {&one.y, &one.low, &one.high}) {
      ys.insert(ys.end(), values->begin(), values->end());
    }
  }

  // A chart of nothing is left out.
  if (xs.empty()) return "";
  const double top = LegendHeight(labels) + 36, bottom = top + 280;
  Svg svg(kWidth, bottom + 46, description);
  DrawLegend(svg, labels, 16);

  // x shows the sizes that were used, not round numbers. Labels must not overlap.
  std::ranges::sort(xs);
  xs.erase(std::unique(xs.begin(), xs.end()), xs.end());
  const Scale x = {xs.front(), xs.back(), 70, kWidth - 30, true};
  const Scale y = ScaleOf(ys, bottom, top);
  std::vector<double> ticks;  // labels are about 50 pixels wide
  for (double value : xs) {
    if (ticks.empty() || x(value) - x(ticks.back()) > 50) ticks.push_back(value);
  }

  DrawAxes(svg, x, y, ticks, x_axis, y_axis);

  // The curve of each series, with an interval and a dot at every point.
  for (size_t i = 0; i < series.size(); ++i) {
    const LineSeries& one = series[i];
    std::vector<std::pair<double, double>> path;
    for (size_t p = 0; p < one.x.size(); ++p) {
      path.emplace_back(x(one.x[p]), y(one.y[p]));
      if (std::isfinite(one.low[p])) {
        svg.Line(x(one.x[p]), y(one.low[p]), x(one.x[p]), y(one.high[p]),
                 StrCat("bar ", SeriesClass(i)));
      }
      svg.Dot(x(one.x[p]), y(one.y[p]), StrCat("dot ", SeriesClass(i)),
              StrCat(one.label, ": ", TickText(one.x[p]), ", ", TickText(one.y[p])));
    }
    svg.Path(path, StrCat("line ", SeriesClass(i)));
  }
  return svg.End();
}

}  // namespace qualm
