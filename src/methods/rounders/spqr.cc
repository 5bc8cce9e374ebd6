// SpQR (Dettmers et al. 2023): the column loop of GPTQ with small groups whose scales and zero
// points are quantized again over neighbouring output rows (section 4.2), and with the weights that
// fit no grid kept as outliers (section 4.1). In: weights and the Gram matrix. Out: codes, two
// levels of scales and zero points, outliers.
#include "methods/rounders/spqr.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "artefact/grid.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "methods/columns/gptq_columns.h"
#include "methods/columns/hessian.h"
#include "methods/columns/lanes.h"
#include "methods/columns/outlier_lists.h"
#include "methods/method_options.h"
#include "tensor/dtype.h"

namespace qualm {
namespace {

struct Options {
  double outlier_threshold = 0.2;  // τ; infinite: no outliers
  HessianOptions hessian{.act_order = true, .damp = 0.01};

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("outlier_threshold", self.outlier_threshold,
          {.meaning = "how much a weight's error may be before it is kept as an outlier",
           .range = InRange(0, 1e9),
           .infinite_as_none = true});
    visit("act_order", self.hessian.act_order,
          {.meaning = "columns by falling diagonal of H instead of left to right"});
    visit("damp", self.hessian.damp,
          {.meaning = "damp times the mean of diag(H) is added to the diagonal",
           .range = InRange(0, 100)});
  }
};

// Limits of the second level: zero points that every stored type can hold, and the smallest step of
// fp16.
constexpr float kLargestZero = 32768, kSmallestStep = 0x1p-24f;

using Lanes = std::array<float, kPanelLanes>;

// Fits as the reference and the paper do: all codes over [min, max], with a fractional zero point;
// a range of a single value becomes [-1, 1].
void FitRange(const Lanes& min, const Lanes& max, float last_code, GridLanes& lanes) {
  for (size_t l = 0; l < kPanelLanes; ++l) {
    const bool is_point = min[l] == max[l];
    const float low = is_point ? -1.0f : min[l], high = is_point ? 1.0f : max[l];
    lanes.scale[l] = (high - low) / last_code;
    lanes.zero[l] = -low / lanes.scale[l];
  }
}

// Quantizes the scales or zero points of one group, `rows` output rows together, and stores codes,
// step and offset.
class SecondLevelFit {
 public:
  SecondLevelFit(const SecondLevel& level, DType type)
      : last_code_(static_cast<float>((1 << level.bits) - 1)),
        rows_(static_cast<size_t>(level.group_rows)),
        type_(type) {}

  // Quantizes values [kPanelLanes] of the rows from `first_row` on, and replaces them by what their
  // codes give.
  void Quantize(Lanes& values, size_t first_row, size_t group, size_t out, size_t groups,
                SecondLevelValues& to) const {
    for (size_t first = 0; first < kPanelLanes && first_row + first < out; first += rows_) {
      const size_t last = std::min({first + rows_, kPanelLanes, out - first_row});

      // The range of the rows that share a step.
      const auto [low, high] = std::minmax_element(values.begin() + static_cast<ptrdiff_t>(first),
                                                   values.begin() + static_cast<ptrdiff_t>(last));
      float min = *low, max = *high;
      if (min == max) {
        min -= 1;
        max += 1;
      }

      // Values far from 0 and close to each other would have a zero point beyond the type's range.
      const float least = std::max(std::abs(min), std::abs(max)) / kLargestZero;
      const float scale =
          RoundTo(std::max({(max - min) / last_code_, least, kSmallestStep}), type_);
      const float zero = RoundTo(-min / scale, type_);

      const size_t block = (first_row + first) / rows_;
      to.scales[block * groups + group] = scale;
      to.zeros[block * groups + group] = zero;

      for (size_t l = first; l < last; ++l) {
        const float code = std::clamp(std::nearbyint(values[l] / scale + zero), 0.0f, last_code_);
        to.codes[(first_row + l) * groups + group] = static_cast<uint8_t>(code);
        values[l] = scale * (code - zero);
      }
    }
  }

 private:
  float last_code_;
  size_t rows_;
  DType type_;
};

// Fits each group's scales on two levels (Fit) and decides after rounding which weights stay
// outliers (Keep).
class SpqrHooks final : public ColumnHooks {
 public:
  SpqrHooks(const Scheme& scheme, const HessianFactor& factor, double threshold,
            QuantizedLinear& shape)
      : grid_(scheme, scheme.bits),
        factor_(factor),
        threshold_(static_cast<float>(threshold)),
        last_code_(static_cast<float>((1 << scheme.bits) - 1)),
        second_(*scheme.second_level, scheme.scale_type),
        layer_(shape),
        outliers_(shape.out_features) {}

  const Grid* GridOf(size_t) const override { return &grid_; }

  void Fit(size_t first_row, size_t group, size_t position, const float* values, size_t count,
           GridLanes& lanes) override {
    // Outliers must not widen the group's range.
    const std::vector<Lanes> kept = WithoutOutliers(position, values, count);
    Lanes min, max;
    RangeOfLanes(kept[0].data(), count, min.data(), max.data());
    FitRange(min, max, last_code_, lanes);

    const size_t out = layer_.out_features, groups = layer_.group_count();
    second_.Quantize(lanes.scale, first_row, group, out, groups, *layer_.second_level_scales);
    second_.Quantize(lanes.zero, first_row, group, out, groups, *layer_.second_level_zeros);
    // Rows beyond the matrix keep their values: zeros on some grid. A scale of 0, which only
    // extreme ranges over the rows give, must not be a divisor.
    for (float& scale : lanes.scale) scale = std::max(scale, 1e-9f);
  }

  void Keep(size_t first_row, size_t position, const float* values, float* rounded) override {
    // An outlier's error, weighted as the loop weights it, is above the threshold, and fp16 can
    // hold it.
    const float diagonal = factor_.upper(position, position);
    const size_t column = factor_.order.empty() ? position : factor_.order[position];
    for (size_t l = 0; l < kPanelLanes && first_row + l < layer_.out_features; ++l) {
      const float error = (values[l] - rounded[l]) / diagonal;
      if (!(error * error > threshold_) || !OutlierLists::CanHold(values[l])) continue;
      outliers_.Add(first_row + l, column, values[l]);
      rounded[l] = values[l];  // the rounding to fp16 is not fed forward
    }
  }

  const OutlierLists& outliers() const { return outliers_; }

 private:
  // Σ ((v − v̂)/U_jj)² over the group's values except `left_out` (count: none), with each lane's
  // grid fitted to only these.
  Lanes ErrorWithout(size_t position, const float* values, size_t count, size_t left_out) const {
    Lanes min, max, error{};
    min.fill(INFINITY);
    max.fill(-INFINITY);
    for (size_t i = 0; i < count; ++i) {
      if (i == left_out) continue;
      for (size_t l = 0; l < kPanelLanes; ++l) {
        const float v = values[i * kPanelLanes + l];
        min[l] = v < min[l] ? v : min[l];
        max[l] = v > max[l] ? v : max[l];
      }
    }

    // The error of these values on their grid.
    GridLanes lanes;
    FitRange(min, max, last_code_, lanes);
    for (size_t i = 0; i < count; ++i) {
      if (i == left_out) continue;
      Lanes rounded;
      grid_.QuantizeLanes(values + i * kPanelLanes, lanes, nullptr, rounded.data());
      const float weight = 1 / factor_.upper(position + i, position + i);
      for (size_t l = 0; l < kPanelLanes; ++l) {
        const float e = (rounded[l] - values[i * kPanelLanes + l]) * weight;
        error[l] += e * e;
      }
    }
    return error;
  }

  // The group's values, with outliers replaced by the mean of the rest, so that the grid need not
  // reach them. An outlier is a value whose absence lowers the error of the remaining ones by more
  // than the threshold.
  std::vector<Lanes> WithoutOutliers(size_t position, const float* values, size_t count) const {
    std::vector<Lanes> kept(count);
    for (size_t i = 0; i < count; ++i)
      std::copy_n(values + i * kPanelLanes, kPanelLanes, kept[i].data());

    if (std::isinf(threshold_) || count < 2) return kept;
    // How much each value's absence lowers the error.
    const Lanes all = ErrorWithout(position, values, count, count);
    std::vector<Lanes> reduction(count);
    for (size_t i = 0; i < count; ++i) {
      const Lanes others = ErrorWithout(position, values, count, i);
      for (size_t l = 0; l < kPanelLanes; ++l) reduction[i][l] = all[l] - others[l];
    }

    // Per lane: the mean of the values that stay, in place of those that do not.
    for (size_t l = 0; l < kPanelLanes; ++l) {
      float sum = 0, number = 0;
      for (size_t i = 0; i < count; ++i) {
        if (reduction[i][l] > threshold_) continue;
        sum += kept[i][l];
        number += 1;
      }
      const float mean = sum / std::max(number, 1.0f);
      for (size_t i = 0; i < count; ++i) {
        if (reduction[i][l] > threshold_) kept[i][l] = mean;
      }
    }
    return kept;
  }

  Grid grid_;
  const HessianFactor& factor_;
  float threshold_, last_code_;
  SecondLevelFit second_;
  QuantizedLinear& layer_;
  OutlierLists outliers_;
};

// mean_j (var(W_:j)/U_jj²), which the threshold is relative to. Dead columns count as zeros.
double OutlierScale(Span2D<const float> weight, const HessianFactor& factor) {
  const size_t rows = weight.rows(), in = weight.cols();
  if (rows < 2) return 0;
  // The variance of each column, in two passes.
  std::vector<double> sum(in, 0.0), squares(in, 0.0);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < in; ++c) sum[c] += weight(r, c);
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < in; ++c) {
      const double d = weight(r, c) - sum[c] / static_cast<double>(rows);
      squares[c] += d * d;
    }
  }

  double total = 0;
  for (size_t p = 0; p < in; ++p) {
    const size_t c = factor.order.empty() ? p : factor.order[p];
    if (factor.dead[c] != 0) continue;
    const double u = factor.upper(p, p);
    total += squares[c] / static_cast<double>(rows - 1) / (u * u);
  }
  return total / static_cast<double>(in);
}

class Spqr final : public WithOptions<Rounder, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "spqr"; }
  bool needs_gram() const override { return true; }
  bool stores_scheme_only() const override { return false; }
  bool makes_second_level() const override { return true; }

  void RequireScheme(const Scheme& scheme) const override {
    const bool fits = scheme.type == NumberType::kInteger &&
                      scheme.granularity == Granularity::kGroup &&
                      scheme.zero_point == ZeroPointKind::kFloat && scheme.second_level &&
                      kPanelLanes % static_cast<size_t>(scheme.second_level->group_rows) == 0;
    if (fits) return;
    ThrowExpected(
        "integers in groups with zero_point: float and second_level: {bits, group_rows "
        "1, 2, 4, 8 or 16}",
        scheme.ShortName(), "spqr quantizes scales and fractional zero points again");
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols(), /*takes_second_level=*/true);
    RequireScheme(scheme);
    RequireFinite(input.weight);
    // The factor for the loop, shared with layers that read the same input.
    FactorCache own;
    FactorCache& factors = input.factors != nullptr ? *input.factors : own;
    const HessianFactor* factor = &factors.Get(input, options_.hessian, context);
    RounderResult result;
    DescribeFactor(*factor, options_.hessian.damp, result);

    // Without a Hessian the loop rounds to nearest and keeps no outliers.
    HessianFactor identity;
    double threshold = INFINITY;
    if (result.fell_back_to_rtn) {
      identity = IdentityFactor(input.weight.cols());
      factor = &identity;
    } else if (std::isfinite(options_.outlier_threshold)) {
      threshold = options_.outlier_threshold * OutlierScale(input.weight, *factor);
      if (threshold == 0) threshold = INFINITY;  // one row, or all weights are zero
    }

    // The hooks write the second level into `shape` while the loop runs.
    QuantizedLinear shape = MakeQuantizedLinear(input.weight.rows(), input.weight.cols(), scheme);
    SpqrHooks hooks(scheme, *factor, threshold, shape);
    ColumnLoopOptions columns;
    columns.hooks = &hooks;
    result.layer = QuantizeColumns(input.weight, scheme, *factor, columns, context);

    result.layer.second_level_scales = std::move(shape.second_level_scales);
    result.layer.second_level_zeros = std::move(shape.second_level_zeros);
    result.layer.outliers = hooks.outliers().Take();
    return result;
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeSpqr(const Yaml* options) {
  return std::make_unique<Spqr>(OptionsFrom<Options>(options));
}

}  // namespace qualm
