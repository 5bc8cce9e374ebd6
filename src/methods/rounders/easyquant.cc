// EasyQuant (Tang et al. 2024): weights far from the mean stay fp16 (section 3.1), and the scale of
// the remaining ones is found by gradient descent on their squared rounding error (section 3.2).
// In: weights only. Out: codes on a symmetric grid, outliers.
#include "methods/rounders/easyquant.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "artefact/grid.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "methods/columns/lanes.h"
#include "methods/columns/outlier_lists.h"
#include "methods/method_options.h"

namespace qualm {
namespace {

// Whether the mean and σ that define outliers are of the whole matrix or of each output channel.
enum class Statistics { kTensor, kChannel };

EnumNames NamesOfEnum(Statistics) {
  static constexpr std::array<std::string_view, 2> kNames = {"tensor", "channel"};
  return {"statistics", kNames};
}

struct Options {
  bool outliers = true;
  double outlier_sigma = 3;
  Statistics statistics = Statistics::kTensor;
  int64_t steps = 100;
  double learning_rate = 0.01;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("outliers", self.outliers, {.meaning = "weights far from the mean stay fp16"});
    visit("outlier_sigma", self.outlier_sigma,
          {.meaning = "an outlier is this many standard deviations or more away from the mean",
           .range = InRange(0.1, 100)});
    visit("statistics", self.statistics,
          {.meaning = "mean and standard deviation of the whole matrix or of each channel"});
    visit("steps", self.steps,
          {.meaning = "of the gradient descent on the scale", .range = InRange(0, 100000)});
    visit("learning_rate", self.learning_rate,
          {.meaning = "of the scale relative to the scale that the range gives",
           .range = InRange(0, 1)});
  }
};

// Of all weights, or of one output channel.
struct Moments {
  double mean = 0, sigma = 0;
};

Moments MomentsOf(Span2D<const float> weight) {
  const double count = static_cast<double>(weight.rows()) * static_cast<double>(weight.cols());
  double sum = 0, squares = 0;
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (float w : weight.row(r)) sum += w;
  }
  const double mean = sum / count;
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (float w : weight.row(r)) squares += (w - mean) * (w - mean);
  }
  return {mean, std::sqrt(squares / count)};
}

// Runs Adam (Kingma & Ba 2015) on ρ, the scale relative to that of the range, with the closed-form
// gradient d/ds Σ(Q(x) − x)² = 2·Σ(Q(x) − x)·clip(round(x/s)). One object serves one group of a
// strip; Run is called once.
class ScaleSearch {
 public:
  ScaleSearch(const Grid& grid, const Options& options, const float* values, size_t count)
      : grid_(grid), options_(options), values_(values), count_(count) {}

  // `lanes` holds the range's scale on entry; it is replaced by the scale with the smallest error
  // of all that were tried, including the first.
  void Run(GridLanes& lanes) const {
    const std::array<float, kPanelLanes> start = lanes.scale;
    std::array<double, kPanelLanes> ratio, first{}, second{}, gradient, least;
    ratio.fill(1);
    std::array<float, kPanelLanes> best = start;
    least.fill(INFINITY);
    GridLanes tried = lanes;

    for (int64_t step = 0; step <= options_.steps; ++step) {
      for (size_t l = 0; l < kPanelLanes; ++l) {
        // The scale in its stored type, since that is what will be kept.
        tried.scale[l] = step == 0 ? start[l] : Stored(start[l] * static_cast<float>(ratio[l]));
      }
      const std::array<double, kPanelLanes> error = Evaluate(tried, gradient);
      for (size_t l = 0; l < kPanelLanes; ++l) {
        if (error[l] < least[l]) {
          least[l] = error[l];
          best[l] = tried.scale[l];
        }

        // The gradient relative to error and scale at the start, so that one rate suits all lanes.
        const double unit = least[l] > 0 ? gradient[l] * start[l] / least[l] : 0;

        // The step of Adam, with bias-corrected moments.
        first[l] = 0.9 * first[l] + 0.1 * unit;
        second[l] = 0.999 * second[l] + 0.001 * unit * unit;
        const double n = static_cast<double>(step + 1);
        const double mean = first[l] / (1 - std::pow(0.9, n));
        const double spread = std::sqrt(second[l] / (1 - std::pow(0.999, n)));
        ratio[l] = std::max(0.01, ratio[l] - options_.learning_rate * mean / (spread + 1e-8));
      }
    }
    lanes.scale = best;
  }

 private:
  // The stored scale of the symmetric range whose exact scale is `scale`.
  float Stored(float scale) const {
    return grid_.Fit(-scale * range_per_scale_, scale * range_per_scale_).scale;
  }

  // Σ(Q(x) − x)² and its derivative by the scale.
  std::array<double, kPanelLanes> Evaluate(const GridLanes& lanes,
                                           std::array<double, kPanelLanes>& gradient) const {
    std::array<double, kPanelLanes> error{};
    gradient.fill(0);
    std::array<float, kPanelLanes> rounded, errors{}, slopes{};

    // Short sums in float are fast and still exact enough; doubles add them up.
    constexpr size_t kShortSum = 128;  // values added in float before they join the doubles
    for (size_t first = 0; first < count_; first += kShortSum) {
      errors.fill(0);
      slopes.fill(0);
      for (size_t i = first; i < std::min(count_, first + kShortSum); ++i) {
        const float* value = values_ + i * kPanelLanes;
        grid_.QuantizeLanes(value, lanes, nullptr, rounded.data());
        for (size_t l = 0; l < kPanelLanes; ++l) {
          const float difference = rounded[l] - value[l];
          errors[l] += difference * difference;
          slopes[l] += difference * (rounded[l] / lanes.scale[l]);  // the clipped code
        }
      }

      for (size_t l = 0; l < kPanelLanes; ++l) {
        error[l] += errors[l];
        gradient[l] += 2 * double{slopes[l]};
      }
    }
    return error;
  }

  const Grid& grid_;
  const Options& options_;
  const float* values_;
  size_t count_;
  float range_per_scale_ = 1 / grid_.Fit(-1, 1).scale;
};

class EasyQuant final : public WithOptions<Rounder, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "easyquant"; }
  bool needs_gram() const override { return false; }
  bool stores_scheme_only() const override { return false; }

  void RequireScheme(const Scheme& scheme) const override {
    if (scheme.type != NumberType::kInteger || !scheme.is_symmetric() ||
        scheme.granularity == Granularity::kTensor) {
      ThrowExpected("symmetric integers per channel or group", scheme.ShortName(),
                    "easyquant optimises the scale of a symmetric grid");
    }
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols());
    RequireFinite(input.weight);
    RequireScheme(scheme);
    // An outlier is 0 in the rest: it has no error there and widens no range.
    Matrix rest = Matrix::CopyOf(input.weight);
    OutlierLists outliers(rest.rows());
    if (options_.outliers) TakeOutliers(rest, outliers);

    RounderResult result;
    result.layer = MakeQuantizedLinear(rest.rows(), rest.cols(), scheme);
    const Grid grid = MakeGrid(rest, scheme, result.layer);
    RoundByGroup(
        rest, grid,
        [&](const float* values, size_t count, GridLanes& lanes) {
          grid.FitLanes(values, count, ClipSearch::kNone, lanes);
          ScaleSearch(grid, options_, values, count).Run(lanes);
        },
        result.layer, context);
    if (outliers.count() > 0) result.layer.outliers = outliers.Take();
    return result;
  }

 private:
  // Moves outliers from `weight` to the lists, and leaves zeros in their places.
  void TakeOutliers(Matrix& weight, OutlierLists& outliers) const {
    const Moments whole = MomentsOf(weight);
    for (size_t r = 0; r < weight.rows(); ++r) {
      const bool is_per_channel = options_.statistics == Statistics::kChannel;
      const Moments moments = is_per_channel ? MomentsOf(weight.view().Rows(r, 1)) : whole;
      if (moments.sigma == 0) continue;

      // A value that fp16 cannot hold stays in the matrix.
      for (size_t c = 0; c < weight.cols(); ++c) {
        const double distance = std::abs(weight(r, c) - moments.mean);
        if (distance < options_.outlier_sigma * moments.sigma) continue;
        if (!OutlierLists::CanHold(weight(r, c))) continue;
        outliers.Add(r, c, weight(r, c));
        weight(r, c) = 0;
      }
    }
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeEasyQuant(const Yaml* options) {
  return std::make_unique<EasyQuant>(OptionsFrom<Options>(options));
}

}  // namespace qualm
