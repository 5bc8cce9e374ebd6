// HQQ (Badri, Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models"): for each
// group, finds the zero point z that minimises Σ|w − s·(q − z)|^p with p < 1, which outliers
// influence less than in a sum of squares. In: weights and a scheme with float zero points. Out:
// codes, scales and zero points.
#include "methods/rounders/hqq.h"

#include <array>
#include <cmath>

#include "base/error_place.h"
#include "base/strings.h"
#include "methods/columns/lanes.h"
#include "methods/method_options.h"

namespace qualm {
namespace {

struct HqqOptions {
  double lp_norm = 0.7;
  double beta = 10;
  double kappa = 1.01;
  int64_t iterations = 20;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("lp_norm", self.lp_norm,
          {.meaning = "p, the power of the error that is minimised", .range = InRange(0.1, 1)});
    visit("beta", self.beta,
          {.meaning = "weight of the quadratic part in the first iteration",
           .range = InRange(1e-6, 1e9)});
    visit("kappa", self.kappa,
          {.meaning = "growth of beta from one iteration to the next", .range = InRange(1, 10)});
    visit("iterations", self.iterations,
          {.meaning = "how often the zero point is moved; 0 is rounding to nearest",
           .range = InRange(0, 1000)});
  }
};

// Finds the zero points of one group of a strip, values [count, kPanelLanes]. Construct one per
// group and call Solve once.
class GroupSolver {
 public:
  GroupSolver(const Grid& grid, const HqqOptions& options, DType zero_type, const float* values,
              size_t count)
      : grid_(grid), options_(options), zero_type_(zero_type), values_(values), count_(count) {}

  // `lanes` holds the range's scale and zero point on entry; the zero point is replaced by the best
  // one found.
  void Solve(GridLanes& lanes) {
    std::array<float, kPanelLanes> best_zero = lanes.zero;
    std::array<double, kPanelLanes> best_error;
    best_error.fill(HUGE_VAL);
    double beta = options_.beta;

    // Each step gives the error of the present zero point and proposes the next one.
    for (int64_t i = 0; i <= options_.iterations; ++i, beta *= options_.kappa) {
      Step(lanes, beta);
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        if (error_[lane] < best_error[lane]) {
          best_error[lane] = error_[lane];
          best_zero[lane] = lanes.zero[lane];
        }
        lanes.zero[lane] = Stored(next_zero_[lane], lanes.zero[lane]);
      }
    }

    lanes.zero = best_zero;
  }

 private:
  // Computes the error Σ|w − ŵ|^p of each lane's zero point, and the next zero point of the
  // half-quadratic iteration: w_e = shrink(w − ŵ), z = mean(q − (w − w_e)/s).
  void Step(const GridLanes& lanes, double beta) {
    error_.fill(0);
    std::array<double, kPanelLanes> sum{};
    std::array<uint8_t, kPanelLanes> codes;
    std::array<float, kPanelLanes> rounded;

    for (size_t i = 0; i < count_; ++i) {
      const float* w = values_ + i * kPanelLanes;
      grid_.QuantizeLanes(w, lanes, codes.data(), rounded.data());
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        const double error = double{w[lane]} - double{rounded[lane]}, size = std::abs(error);
        // A weight on the grid has no error and nothing to shrink.
        if (size == 0) {
          sum[lane] += codes[lane] - double{w[lane]} / double{lanes.scale[lane]};
          continue;
        }
        const double power = std::pow(size, options_.lp_norm - 1);  // |e|^(p-1)
        error_[lane] += size * power;
        // The generalised soft threshold of the l_p norm.
        const double shrunk = std::copysign(std::max(0.0, size - power / beta), error);
        sum[lane] += codes[lane] - (double{w[lane]} - shrunk) / double{lanes.scale[lane]};
      }
    }

    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      next_zero_[lane] = sum[lane] / static_cast<double>(count_);
    }
  }

  // The zero point in its stored type; `otherwise` if that type cannot hold it.
  float Stored(double zero, float otherwise) const {
    auto value = static_cast<float>(zero);
    if (zero_type_ == DType::kF16) value = ToFloat(HalfFromFloat(value));
    if (zero_type_ == DType::kBF16) value = ToFloat(BFloat16FromFloat(value));
    return std::isfinite(value) ? value : otherwise;
  }

  const Grid& grid_;
  const HqqOptions& options_;
  DType zero_type_;
  const float* values_;
  size_t count_;
  std::array<double, kPanelLanes> error_, next_zero_;
};

class Hqq final : public WithOptions<Rounder, HqqOptions> {
 public:
  using WithOptions::WithOptions;
  std::string_view name() const override { return "hqq"; }
  bool needs_gram() const override { return false; }

  void RequireScheme(const Scheme& scheme) const override {
    if (scheme.type == NumberType::kInteger && scheme.zero_point == ZeroPointKind::kFloat &&
        scheme.granularity != Granularity::kTensor) {
      return;
    }
    ThrowExpected("integers with zero_point: float per channel or group", scheme.ShortName(),
                  "hqq chooses fractional zero points");
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols());
    RequireScheme(scheme);
    RequireFinite(input.weight);

    // Scales come from the range, zero points from the solver.
    RounderResult result;
    result.layer = MakeQuantizedLinear(input.weight.rows(), input.weight.cols(), scheme);
    const Grid grid = MakeGrid(input.weight, scheme, result.layer);
    RoundByGroup(
        input.weight, grid,
        [&](const float* values, size_t count, GridLanes& lanes) {
          grid.FitLanes(values, count, ClipSearch::kNone, lanes);
          GroupSolver(grid, options_, scheme.scale_type, values, count).Solve(lanes);
        },
        result.layer, context);
    return result;
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeHqq(const Yaml* options) {
  return std::make_unique<Hqq>(OptionsFrom<HqqOptions>(options));
}

}  // namespace qualm
