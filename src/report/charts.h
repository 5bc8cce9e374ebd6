// Charts as inline SVG. Colours are the page's variables, so that they follow its theme; every
// chart has a text that says what it shows, and its numbers stand in a table, too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "study/spec.h"

namespace qualm {

struct ForestRow {
  std::string label;  // plain text
  double value = 0, low = 0, high = 0;
  bool is_significant = false;
};

// Values with intervals, one row each, and a line at 0.
std::string ForestPlot(const std::vector<ForestRow>& rows, const LocalText& axis,
                       const LocalText& description);

struct ScatterPoint {
  std::string label;  // plain text
  std::string series;
  double x = 0, y = 0, low = 0, high = 0;  // interval of y
  bool is_on_front = false;
};

// With the Pareto front (those marked) joined by a line.
std::string ScatterPlot(const std::vector<ScatterPoint>& points, const LocalText& x_axis,
                        const LocalText& y_axis, const LocalText& description);

struct LineSeries {
  std::string label;
  std::vector<double> x, y, low, high;
};

// x on a logarithmic axis.
std::string LinePlot(const std::vector<LineSeries>& series, const LocalText& x_axis,
                     const LocalText& y_axis, const LocalText& description);

// About `wanted` round numbers that cover [low, high].
std::vector<double> AxisTicks(double low, double high, size_t wanted);

// Marks the points that no other one beats: less y at no more x (or no less x where larger is
// better).
void MarkFront(std::vector<ScatterPoint>& points, bool larger_x_is_better);

}  // namespace qualm
