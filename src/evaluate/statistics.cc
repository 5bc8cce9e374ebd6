// The estimators of statistics.h: the linearised ratio, the delta method, and bootstraps over items
// or whole windows with fixed seeds.
#include "evaluate/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

namespace qualm {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr uint64_t kBootstrapSeed = 0;

// The q-quantile of a sorted sample in which entry i occurs counts[window of i] times.
template <typename Entries>
double WeightedQuantile(const Entries& sorted, std::span<const uint32_t> counts, uint64_t total,
                        double probability) {
  // The two ranks between which the quantile is interpolated.
  const double position = probability * static_cast<double>(total - 1);
  const uint64_t low_rank = static_cast<uint64_t>(position);
  const uint64_t high_rank = std::min(low_rank + 1, total - 1);

  // Ranks are counted as if every entry were repeated.
  uint64_t passed = 0;
  double low = 0;
  bool has_low = false;
  for (const auto& entry : sorted) {
    passed += counts[entry.window];
    if (!has_low && passed > low_rank) {
      low = entry.value;
      has_low = true;
    }
    if (passed > high_rank) {
      const double share = position - static_cast<double>(low_rank);
      // The first form keeps an infinite `low` from becoming NaN.
      return share == 0 || low == entry.value ? low : low + share * (entry.value - low);
    }
  }
  return kNone;
}

double StandardDeviation(std::span<const double> values) {
  double mean = 0;
  for (double value : values) mean += value;
  mean /= static_cast<double>(values.size());
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

}  // namespace

Estimate RatioEstimate(std::span<const double> sums, std::span<const double> weights) {
  QUALM_CHECK(sums.size() == weights.size() && !sums.empty());
  double sum = 0, weight = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    sum += sums[i];
    weight += weights[i];
  }

  Estimate result{sum / weight, kNone};
  if (sums.size() < 2) return result;

  // The error of the linearised ratio, with the residuals sums − R·weights.
  double squares = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    const double residual = sums[i] - result.value * weights[i];
    squares += residual * residual;
  }

  const double n = static_cast<double>(sums.size());
  result.standard_error = std::sqrt(n / (n - 1) * squares) / weight;
  return result;
}

Estimate ExpOf(Estimate x) {
  const double value = std::exp(x.value);
  return {value, value * x.standard_error};
}

Estimate SqrtOf(Estimate x) {
  const double value = std::sqrt(x.value);
  // d sqrt(x) = dx / (2 sqrt(x)); if all values are 0, the error is 0, too.
  return {value, x.standard_error == 0 ? 0 : x.standard_error / (2 * value)};
}

Estimate BootstrapOf(std::span<const std::vector<double>> counts,
                     double (*value)(std::span<const double> sums), std::string_view stream) {
  constexpr int kReplicates = 200;
  if (counts.empty()) return {kNone, kNone};
  const size_t width = counts[0].size();
  const auto add = [&](const std::vector<double>& one, std::vector<double>& sums) {
    for (size_t k = 0; k < width; ++k) sums[k] += one[k];
  };

  // The value of all items.
  std::vector<double> all(width, 0);
  for (const std::vector<double>& one : counts) add(one, all);
  Estimate estimate{value(all), kNone};
  if (counts.size() < 2) return estimate;

  // Its deviation over samples of items with replacement.
  Rng rng(0, stream);
  std::vector<double> values;
  for (int r = 0; r < kReplicates; ++r) {
    std::vector<double> sums(width, 0);
    for (size_t i = 0; i < counts.size(); ++i) add(counts[rng.Below(counts.size())], sums);
    if (const double one = value(sums); !std::isnan(one)) values.push_back(one);
  }

  // Replicates without a value do not count.
  if (values.size() < 2) return estimate;
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (double one : values) squares += (one - mean) * (one - mean);
  estimate.standard_error = std::sqrt(squares / (n - 1));
  return estimate;
}

void ClusteredSample::AddWindow(std::span<const double> values) {
  for (double value : values) entries_.push_back({value, windows_});
  ++windows_;
}

std::vector<Estimate> ClusteredSample::Quantiles(std::span<const double> probabilities) const {
  QUALM_CHECK(!entries_.empty());
  std::vector<Estimate> results(probabilities.size(), {kNone, kNone});
  // Quantiles of a sample with NaN are not defined.
  const auto is_nan = [](const Entry& entry) { return std::isnan(entry.value); };
  if (std::any_of(entries_.begin(), entries_.end(), is_nan)) return results;

  // The sample itself counts every window once.
  std::vector<Entry> sorted = entries_;
  std::sort(sorted.begin(), sorted.end(),
            [](const Entry& a, const Entry& b) { return a.value < b.value; });
  std::vector<uint32_t> window_size(windows_, 0), counts(windows_, 1);
  for (const Entry& entry : entries_) ++window_size[entry.window];
  for (size_t p = 0; p < probabilities.size(); ++p) {
    results[p].value = WeightedQuantile(sorted, counts, sorted.size(), probabilities[p]);
  }
  if (windows_ < 2) return results;

  // Each replicate draws as many windows as there are; a window's values keep together.
  std::vector<std::vector<double>> replicates(probabilities.size());
  Rng rng(kBootstrapSeed, "window-bootstrap");
  while (replicates.front().size() < kReplicates) {
    std::fill(counts.begin(), counts.end(), 0);
    uint64_t total = 0;
    for (uint32_t draw = 0; draw < windows_; ++draw) {
      const size_t window = static_cast<size_t>(rng.Below(windows_));
      ++counts[window];
      total += window_size[window];
    }
    for (size_t p = 0; p < probabilities.size(); ++p) {
      replicates[p].push_back(WeightedQuantile(sorted, counts, total, probabilities[p]));
    }
  }
  for (size_t p = 0; p < probabilities.size(); ++p) {
    results[p].standard_error = StandardDeviation(replicates[p]);
  }
  return results;
}

double ClusteredSample::Max() const {
  QUALM_CHECK(!entries_.empty());
  double largest = -std::numeric_limits<double>::infinity();
  for (const Entry& entry : entries_) {
    if (std::isnan(entry.value)) return kNone;
    largest = std::max(largest, entry.value);
  }
  return largest;
}

}  // namespace qualm
