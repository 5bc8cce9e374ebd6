// Estimates with standard errors from windows of text. Tokens of one window depend on each other,
// so the window is the unit of all standard errors (cluster-robust); windows are taken as
// independent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace qualm {

// NaN means "not available" in both fields.
struct Estimate {
  double value = 0;
  double standard_error = 0;
};

// R = Σ sums / Σ weights over windows i = 1..n, with the delta method's (linearised ratio's) error
//     se(R) = sqrt(n/(n-1) · Σ (sums_i - R·weights_i)²) / Σ weights,
// which for equal weights is the usual standard error of a mean. One window has no error (NaN).
Estimate RatioEstimate(std::span<const double> sums, std::span<const double> weights);

// exp(x) and sqrt(x) of an estimate, error by the delta method.
Estimate ExpOf(Estimate x);
Estimate SqrtOf(Estimate x);

// value(Σ counts) over items; its error is the deviation over 200 bootstrap samples of items, drawn
// with the seed of `stream`; NaN for fewer than two items. Replicates without a value do not count.
Estimate BootstrapOf(std::span<const std::vector<double>> counts,
                     double (*value)(std::span<const double> sums), std::string_view stream);

// Quantiles, with errors, of values that come in windows (clusters). Call AddWindow for each window
// in order, then Quantiles and Max.
class ClusteredSample {
 public:
  void AddWindow(std::span<const double> values);

  // Linear interpolation between order statistics: position q·(n-1) of the sorted values. The error
  // is the standard deviation over kReplicates bootstrap samples of whole windows (fixed seed); it
  // is NaN for one window or if a value is NaN. Requires: at least one value.
  std::vector<Estimate> Quantiles(std::span<const double> probabilities) const;
  double Max() const;

  static constexpr int kReplicates = 200;

 private:
  struct Entry {
    double value;
    uint32_t window;
  };
  std::vector<Entry> entries_;
  uint32_t windows_ = 0;
};

}  // namespace qualm
