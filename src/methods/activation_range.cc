// Chooses the static range of a layer's inputs from calibration data: the whole range, a
// percentile, or the range with the least squared error.
#include "methods/activation_range.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/transformed_weight.h"

namespace qualm {
namespace {

// Least and largest value; the grid is fitted to it.
struct Range {
  float min = 0, max = 0;
};

// Values that percentiles and errors are taken over: all of the sample, or every n-th one.
std::vector<float> Values(Span2D<const float> sample) {
  constexpr size_t kMostValues = size_t{1} << 21;
  const size_t total = sample.rows() * sample.cols();
  const size_t step = (total + kMostValues - 1) / kMostValues;
  std::vector<float> values;
  values.reserve(total / step + 1);
  for (size_t i = 0; i < total; i += step) {
    values.push_back(sample(i / sample.cols(), i % sample.cols()));
  }
  return values;
}

// The range over all tokens if it was recorded per channel, else the sample's.
Range WholeRange(Span2D<const float> sample, std::span<const float> min,
                 std::span<const float> max) {
  if (!min.empty()) return {*std::ranges::min_element(min), *std::ranges::max_element(max)};
  Range range{INFINITY, -INFINITY};
  for (size_t t = 0; t < sample.rows(); ++t) {
    float low = 0, high = 0;
    RangeOf(sample.row(t), low, high);
    range.min = std::min(range.min, low);
    range.max = std::max(range.max, high);
  }
  return range;
}

// The smallest of the values such that at least `share` of them do not exceed it (nearest rank).
float Quantile(std::vector<float>& values, double share) {
  const auto count = static_cast<double>(values.size());
  const auto rank = static_cast<size_t>(std::clamp(std::ceil(share * count) - 1, 0.0, count - 1));
  std::ranges::nth_element(values, values.begin() + static_cast<ptrdiff_t>(rank));
  return values[rank];
}

// Symmetric grids take the percentile of the magnitudes, others one on each side.
Range PercentileRange(std::vector<float> values, bool is_symmetric, double percentile) {
  if (is_symmetric) {
    for (float& v : values) v = std::abs(v);
    const float largest = Quantile(values, percentile / 100);
    return {-largest, largest};
  }
  const float high = Quantile(values, percentile / 100);
  return {Quantile(values, 1 - percentile / 100), high};
}

double SquaredError(const ActivationGrid& grid, std::span<const float> values) {
  std::vector<float> rounded(values.size());
  ActivationQuantizer(grid).Round(values, rounded);
  double total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = double{values[i]} - rounded[i];
    total += difference * difference;
  }
  return total;
}

}  // namespace

ActivationGrid FitActivations(const ActivationPlan& plan, Span2D<const float> sample,
                              std::span<const float> min, std::span<const float> max) {
  ActivationGrid result{plan.scheme, {}};
  // Dynamic schemes find their range at run time.
  if (plan.scheme.dynamic) return result;
  QUALM_CHECK(sample.rows() > 0 && sample.cols() > 0);
  const Grid grid(plan.scheme, plan.scheme.bits);

  Range range = WholeRange(sample, min, max);
  if (plan.range == RangeChoice::kPercentile) {
    range = PercentileRange(Values(sample), plan.scheme.is_symmetric(), plan.percentile);
  }

  result.point = grid.Fit(range.min, range.max);
  if (plan.range != RangeChoice::kMse) return result;

  // Shrinks the range step by step and keeps the best; of equal errors the first, the widest.
  const std::vector<float> values = Values(sample);
  double best = std::numeric_limits<double>::infinity();
  ActivationGrid candidate = result;
  for (int step = 0; step < kShrinkSteps; ++step) {
    const float factor = ShrinkFactor(step);
    candidate.point = grid.Fit(range.min * factor, range.max * factor);
    const double error = SquaredError(candidate, values);
    if (!(error < best)) continue;
    best = error;
    result = candidate;
  }
  return result;
}

ActivationGrid FitLayerActivations(const ActivationPlan& plan, const QuantizedLinear& layer,
                                   Span2D<const float> sample, std::span<const float> min,
                                   std::span<const float> max, const Context& context) {
  if (plan.scheme.dynamic || (layer.transforms.empty() && !layer.float_columns)) {
    return FitActivations(plan, sample, min, max);
  }

  // The grid is for the inputs as the layer's own transforms leave them.
  Matrix inputs = TransformInputs(layer.transforms, sample, context);
  std::vector<float> least(min.begin(), min.end()), largest(max.begin(), max.end());
  // Ranges per channel describe inputs before transforms, so they cannot be used after them.
  if (!layer.transforms.empty()) least = largest = {};

  // Float columns are taken out of the input before it is rounded.
  const std::vector<uint32_t> none;
  for (uint32_t c : layer.float_columns ? layer.float_columns->column : none) {
    for (size_t t = 0; t < inputs.rows(); ++t) inputs(t, c) = 0;
    if (!least.empty()) least[c] = largest[c] = 0;
  }
  return FitActivations(plan, inputs, least, largest);
}

}  // namespace qualm
