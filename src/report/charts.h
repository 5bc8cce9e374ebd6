// Charts as inline SVG. Colours are the page's variables, so they follow its theme. Every chart has
// a text that says what it shows, and its numbers are also in a table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "study/spec.h"

namespace qualm {

// One value of a forest plot.
struct ForestRow {
  std::string label;  // plain text
  double value = 0, low = 0, high = 0;
  bool is_significant = false;
};

// Values with intervals, one row for each, and a line at 0.
std::string ForestPlot(const std::vector<ForestRow>& rows, const LocalText& axis,
                       const LocalText& description);

// One point of a scatter plot.
struct ScatterPoint {
  std::string label;  // plain text
  std::string series;
  double x = 0, y = 0, low = 0, high = 0;  // interval of y
  bool is_on_front = false;
};

// Points by series; the points on the Pareto front are joined by a line.
std::string ScatterPlot(const std::vector<ScatterPoint>& points, const LocalText& x_axis,
                        const LocalText& y_axis, const LocalText& description);

// One curve of a line plot.
struct LineSeries {
  std::string label;
  std::vector<double> x, y, low, high;
};

// Curves; x is on a logarithmic axis.
std::string LinePlot(const std::vector<LineSeries>& series, const LocalText& x_axis,
                     const LocalText& y_axis, const LocalText& description);

// About `wanted` round numbers that cover [low, high].
std::vector<double> AxisTicks(double low, double high, size_t wanted);

// Marks the points that no other point beats: less y at no more x (or at no less x, if larger is
// better).
void MarkFront(std::vector<ScatterPoint>& points, bool larger_x_is_better);

}  // namespace qualm
