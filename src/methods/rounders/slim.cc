// SliM-LLM (Huang et al. 2024): groups get more or fewer bits by their salience (section 3.2,
// slim_allocation.h); each group's range is stretched or shrunk to the smallest error in which
// salient weights count more (section 3.3); then GPTQ. In: weights, the Gram matrix and sampled
// rows. Out: codes, bits per group.
#include "methods/rounders/slim.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "artefact/grid.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "methods/columns/gptq_columns.h"
#include "methods/columns/hessian.h"
#include "methods/columns/lanes.h"
#include "methods/columns/slim_allocation.h"
#include "methods/columns/slim_grid.h"
#include "methods/method_options.h"

namespace qualm {
namespace {

struct Options {
  double lambda = 2;         // weight of a salient element's error; 1: all count the same
  double salient_sigma = 3;  // |w − mean| > salient_sigma·σ of its group
  int64_t range_steps = 50;  // on each side of the plain range
  double range_width = 0.1;  // ranges from 1 − width to 1 + width
  HessianOptions hessian;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("lambda", self.lambda,
          {.meaning = "weight of a salient weight's error; 1 counts all the same",
           .range = InRange(1, 1e6)});
    visit("salient_sigma", self.salient_sigma,
          {.meaning = "salient is more than this many standard deviations away from the mean",
           .range = InRange(0, 100)});
    visit("range_steps", self.range_steps,
          {.meaning = "candidates on each side of the plain range", .range = InRange(1, 10000)});
    visit(
        "range_width", self.range_width,
        {.meaning = "how far candidates shrink and stretch the range", .range = InRange(0, 0.99)});
    visit("damp", self.hessian.damp,
          {.meaning = "damp times the mean of diag(H) is added to the diagonal",
           .range = InRange(0, 100)});
  }
};

// Fits each group on the grid of its number of bits, with a searched range. It changes nothing
// after rounding.
class SlimHooks final : public ColumnHooks {
 public:
  SlimHooks(const Scheme& scheme, const Options& options, std::vector<uint8_t> bits)
      : options_(options), grids_(scheme), bits_(std::move(bits)) {}

  const Grid* GridOf(size_t group) const override { return &grids_.Of(bits_[group]); }

  void Fit(size_t, size_t group, size_t, const float* values, size_t count,
           GridLanes& lanes) override {
    const int bits = bits_[group];
    grids_.Fit(bits, values, count, lanes);
    if (bits == 1) return;  // the mean and the distance give the best two values already
    Search(*GridOf(group), values, count, lanes);
  }

  void Keep(size_t, size_t, const float*, float*) override {}

 private:
  // Chooses the factor τ of the range with the smallest Σ weight·|w − ŵ|^2.4; of equal ones the
  // first, and the plain range before all others.
  void Search(const Grid& grid, const float* values, size_t count, GridLanes& lanes) const {
    // The loss of the plain range is what candidates must beat.
    std::array<float, kPanelLanes> min, max, unit;
    RangeOfLanes(values, count, min.data(), max.data());
    const Split split = SplitSalient(values, count);
    for (size_t l = 0; l < kPanelLanes; ++l) unit[l] = 1 / lanes.scale[l];
    std::array<double, kPanelLanes> least = Loss(grid, split, values, count, lanes, unit);

    for (int64_t step = -options_.range_steps; step <= options_.range_steps; ++step) {
      if (step == 0) continue;
      const auto tau = static_cast<float>(1 + options_.range_width * static_cast<double>(step) /
                                                  static_cast<double>(options_.range_steps));
      GridLanes tried;
      // Every lane has its own range and keeps its own best.
      for (size_t l = 0; l < kPanelLanes; ++l) {
        const GridPoint point = grid.Fit(tau * min[l], tau * max[l]);
        tried.scale[l] = point.scale;
        tried.zero[l] = point.zero;
      }
      const std::array<double, kPanelLanes> loss = Loss(grid, split, values, count, tried, unit);
      for (size_t l = 0; l < kPanelLanes; ++l) {
        if (!(loss[l] < least[l])) continue;
        least[l] = loss[l];
        lanes.scale[l] = tried.scale[l];
        lanes.zero[l] = tried.zero[l];
      }
    }
  }

  // The salient elements alone, each lane's packed from the start. Lanes with fewer of them are
  // filled with values that have no error.
  struct Split {
    AlignedArray<float> values;
    size_t count = 0;
    std::array<size_t, kPanelLanes> number{};
  };

  Split SplitSalient(const float* values, size_t count) const {
    Split split;
    split.values = AlignedArray<float>(count * kPanelLanes);
    for (size_t l = 0; l < kPanelLanes; ++l) {
      // Mean and standard deviation of this lane's group.
      double sum = 0, squares = 0;
      for (size_t i = 0; i < count; ++i) sum += values[i * kPanelLanes + l];
      const double mean = sum / static_cast<double>(count);
      for (size_t i = 0; i < count; ++i) {
        const double d = values[i * kPanelLanes + l] - mean;
        squares += d * d;
      }

      const double limit = options_.salient_sigma * std::sqrt(squares / static_cast<double>(count));
      for (size_t i = 0; i < count; ++i) {
        const float v = values[i * kPanelLanes + l];
        if (std::abs(v - mean) > limit) split.values[split.number[l]++ * kPanelLanes + l] = v;
      }
      split.count = std::max(split.count, split.number[l]);
    }
    return split;
  }

  // Σ |e|^2.4 + (λ − 1)·Σ_salient |e|^2.4, in units of the plain range's steps.
  std::array<double, kPanelLanes> Loss(const Grid& grid, const Split& split, const float* values,
                                       size_t count, const GridLanes& lanes,
                                       const std::array<float, kPanelLanes>& unit) const {
    std::array<double, kPanelLanes> loss{};
    // All elements once.
    grid.AddClipErrors(values, count, lanes, unit, loss.data());
    if (options_.lambda == 1 || split.count == 0) return loss;

    // Salient elements count λ times, so λ − 1 times more.
    AlignedArray<float> salient(split.count * kPanelLanes);
    for (size_t i = 0; i < split.count; ++i) {
      for (size_t l = 0; l < kPanelLanes; ++l) {
        const bool is_there = i < split.number[l];
        // The value of code 0 is exactly on the grid and adds no error.
        salient[i * kPanelLanes + l] =
            is_there ? split.values[i * kPanelLanes + l] : lanes.scale[l] * (0 - lanes.zero[l]);
      }
    }

    std::array<double, kPanelLanes> extra{};
    grid.AddClipErrors(salient.data(), split.count, lanes, unit, extra.data());
    for (size_t l = 0; l < kPanelLanes; ++l) loss[l] += (options_.lambda - 1) * extra[l];
    return loss;
  }

  Options options_;
  MixedGrids grids_;
  std::vector<uint8_t> bits_;
};

class Slim final : public WithOptions<Rounder, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "slim"; }
  bool needs_gram() const override { return true; }
  bool stores_scheme_only() const override { return false; }
  bool needs_sample() const override { return true; }

  void RequireScheme(const Scheme& scheme) const override {
    const bool fits = scheme.type == NumberType::kInteger &&
                      scheme.granularity == Granularity::kGroup && !scheme.is_symmetric();
    if (!fits || scheme.bits < 2 || scheme.bits > 7) {
      ThrowExpected("asymmetric integers of 2 to 7 bits in groups", scheme.ShortName(),
                    "slim gives groups one bit more or less");
    }
    if (scheme.bits == 2 && scheme.zero_point != ZeroPointKind::kFloat) {
      ThrowExpected("zero_point: float with 2 bits", NameOf(scheme.zero_point),
                    "groups of 1 bit have their two values around a mean");
    }
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols());
    RequireScheme(scheme);
    RequireFinite(input.weight);
    // The factor for the loop, shared with layers that read the same input.
    FactorCache own;
    FactorCache& factors = input.factors != nullptr ? *input.factors : own;
    const HessianFactor& factor = factors.Get(input, options_.hessian, context);

    RounderResult result;
    DescribeFactor(factor, options_.hessian.damp, result);

    // Without a Hessian there is no salience: every group keeps its bits.
    std::vector<uint8_t> bits(scheme.GroupCount(input.weight.cols()),
                              static_cast<uint8_t>(scheme.bits));
    if (!result.fell_back_to_rtn) {
      bits = AllocateGroupBits(input.weight, scheme, factor, input.sample, context);
    }

    SlimHooks hooks(scheme, options_, bits);
    ColumnLoopOptions columns;
    columns.hooks = &hooks;
    result.layer = result.fell_back_to_rtn
                       ? QuantizeColumns(input.weight, scheme, IdentityFactor(input.weight.cols()),
                                         columns, context)
                       : QuantizeColumns(input.weight, scheme, factor, columns, context);

    const bool is_mixed = std::ranges::any_of(bits, [&](uint8_t b) { return b != scheme.bits; });
    if (is_mixed) result.layer.bits_per_group = std::move(bits);
    return result;
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeSlim(const Yaml* options) {
  return std::make_unique<Slim>(OptionsFrom<Options>(options));
}

}  // namespace qualm
