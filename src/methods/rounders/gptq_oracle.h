// What the tests of gptq compare with: optimal brain quantization written down naively, in double
// precision, with the inverse by elimination, no factorisation and no blocks.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "methods/test_support.h"
#include "tensor/dtype.h"

namespace qualm::testing {

struct NaiveOptions {
  int bits = 4;
  size_t group = 0;  // 0: per channel
  bool act_order = false, static_groups = false;
  double damp = 0.01;
  size_t stale_block = 1;    // columns after which other columns' values reach the fit of a group
  bool symmetric = false;    // GPTQ's convention
  bool half_scales = false;  // scales stored as float16 before anything is rounded
};

// Scale and zero point of a group; its range always includes zero.
struct NaivePoint {
  double scale = 1, zero = 0;
};
inline NaivePoint NaiveFit(const std::vector<double>& values, const NaiveOptions& options) {
  double min = 0, max = 0;
  for (double v : values) {
    min = std::min(min, v);
    max = std::max(max, v);
  }

  const double steps = (1 << options.bits) - 1;
  NaivePoint point;
  if (options.symmetric) point.zero = 1 << (options.bits - 1);
  if (min == max) return point;

  // GPTQ makes a range with negative values symmetric and leaves others as they are.
  if (options.symmetric) {
    max = std::max(-min, max);
    if (min < 0) min = -max;
  }
  point.scale = (max - min) / steps;
  if (options.half_scales) {
    point.scale = ToFloat(HalfFromFloat(static_cast<float>(point.scale)));
  }
  if (!options.symmetric) point.zero = std::clamp(std::nearbyint(-min / point.scale), 0.0, steps);
  return point;
}

// One row's codes. Near ties are where two correct programs may choose different codes.
struct NaiveResult {
  std::vector<int> codes;      // [in] by column
  std::vector<bool> near_tie;  // by column: the value was within 1e-3 of a step from another code
  std::vector<size_t> order;   // position -> column
};

// One row of W, columns rounded in order; the inverse shrinks with every column (OBQ).
inline NaiveResult NaiveRow(std::vector<double> w, Doubles h, const NaiveOptions& options) {
  // Inputs that were always 0 get a diagonal of 1, and their weights become 0.
  const size_t n = w.size();
  std::vector<double> original = w;
  double mean = 0;
  for (size_t j = 0; j < n; ++j) {
    if (h[j][j] == 0) {
      h[j][j] = 1;
      w[j] = 0;
    }
    mean += h[j][j] / static_cast<double>(n);
  }

  // The order of the columns, then damping and the inverse.
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  if (options.act_order) {
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return h[a][a] > h[b][b]; });
  }
  for (size_t j = 0; j < n; ++j) h[j][j] += options.damp * mean;
  Doubles inverse = Invert(h);

  // Points that do not depend on updates.
  const size_t group = options.group == 0 ? n : options.group;
  std::vector<NaivePoint> points((n + group - 1) / group);
  if (options.group == 0) points[0] = NaiveFit(original, options);
  for (size_t g = 0; options.group > 0 && options.static_groups && g < points.size(); ++g) {
    points[g] = NaiveFit({w.begin() + static_cast<std::ptrdiff_t>(g * group),
                          w.begin() + static_cast<std::ptrdiff_t>(std::min(n, (g + 1) * group))},
                         options);
  }

  NaiveResult result{std::vector<int>(n), std::vector<bool>(n), order};
  std::vector<double> stale = w;
  for (size_t p = 0; p < n; ++p) {
    const size_t j = order[p];
    if (p % options.stale_block == 0) stale = w;

    // A group's point is fitted when its first column is reached.
    if (options.group > 0 && !options.static_groups && p % group == 0) {
      std::vector<double> members;
      for (size_t q = p; q < std::min(n, p + group); ++q) members.push_back(stale[order[q]]);
      points[p / group] = NaiveFit(members, options);
    }

    // Rounds the column.
    const NaivePoint point =
        options.group == 0 ? points[0] : points[(options.static_groups ? j : p) / group];
    const double exact = w[j] / point.scale;
    const double limit = (1 << options.bits) - 1;
    const double code = std::clamp(std::nearbyint(exact) + point.zero, 0.0, limit);
    result.codes[j] = static_cast<int>(code);
    result.near_tie[j] = std::abs(std::abs(exact - std::floor(exact)) - 0.5) < 1e-3;

    // Optimal brain quantization: the error moves into the columns that follow, and the column is
    // eliminated from the inverse.
    const double error = (w[j] - point.scale * (code - point.zero)) / inverse[j][j];
    const std::vector<double> row = inverse[j];
    for (size_t q = p + 1; q < n; ++q) w[order[q]] -= error * row[order[q]];
    for (size_t a = 0; a < n; ++a) {
      for (size_t b = 0; b < n; ++b) inverse[a][b] -= row[a] * row[b] / row[j];
    }
  }
  return result;
}

}  // namespace qualm::testing
