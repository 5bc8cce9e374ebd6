// OWQ (Lee et al. 2023): the input columns that lose most by rounding, λ_j = H_jj·‖W_:j − Q(W_:j)‖²
// (section 3.2), are kept in fp16; GPTQ rounds all other columns and also feeds their errors into
// the kept ones. In: weights and the Gram matrix. Out: codes, and the float columns.
#include "methods/rounders/owq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "artefact/grid.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "methods/columns/gptq_columns.h"
#include "methods/columns/hessian.h"
#include "methods/columns/lanes.h"
#include "methods/columns/outlier_lists.h"
#include "methods/method_options.h"
#include "methods/rounders/rtn.h"

namespace qualm {
namespace {

struct Options {
  double extra_bits = 0.05;
  int64_t columns = 0;
  HessianOptions hessian;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("extra_bits", self.extra_bits,
          {.meaning = "bits per weight spent on float columns", .range = InRange(0, 16)});
    visit("columns", self.columns,
          {.meaning = "a number of float columns; 0 is as many as extra_bits buys",
           .range = InRange(0, 1 << 20)});
    visit("act_order", self.hessian.act_order,
          {.meaning = "columns by falling diagonal of H instead of left to right"});
    visit("damp", self.hessian.damp,
          {.meaning = "damp times the mean of diag(H) is added to the diagonal",
           .range = InRange(0, 100)});
  }
};

// Takes the float columns out of the groups' ranges (Fit), and stores their values once all updates
// have reached them (Keep).
class OwqHooks final : public ColumnHooks {
 public:
  OwqHooks(const Grid& grid, const HessianFactor& factor, const std::vector<uint32_t>& columns,
           size_t rows, size_t in)
      : grid_(grid), factor_(factor), rows_(rows), place_(in, kNone) {
    for (size_t i = 0; i < columns.size(); ++i) place_[columns[i]] = i;
    result_.column = columns;
    result_.value.resize(rows * columns.size());
  }

  const Grid* GridOf(size_t) const override { return &grid_; }

  void Fit(size_t, size_t, size_t position, const float* values, size_t count,
           GridLanes& lanes) override {
    // The group's other columns, moved together.
    AlignedArray<float> kept(count * kPanelLanes);
    size_t number = 0;
    for (size_t i = 0; i < count; ++i) {
      if (place_[position + i] != kNone) continue;
      std::copy_n(values + i * kPanelLanes, kPanelLanes, kept.data() + number++ * kPanelLanes);
    }
    if (number == 0) {  // all columns of the group stay float
      std::fill_n(kept.data(), kPanelLanes, 0.0f);
      number = 1;
    }
    grid_.FitLanes(kept.data(), number, ClipSearch::kNone, lanes);
  }

  void Keep(size_t first_row, size_t position, const float* values, float* rounded) override {
    // Only float columns are replaced.
    const size_t place = place_[factor_.order.empty() ? position : factor_.order[position]];
    if (place == kNone) return;
    for (size_t l = 0; l < kPanelLanes && first_row + l < rows_; ++l) {
      const Half stored = HalfFromFloat(std::clamp(values[l], -kLargestHalf, kLargestHalf));
      result_.value[(first_row + l) * result_.column.size() + place] = stored;
      rounded[l] = ToFloat(stored);
    }
  }

  FloatColumns& result() { return result_; }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  const Grid& grid_;
  const HessianFactor& factor_;
  size_t rows_;
  std::vector<size_t> place_;  // by column: among the float ones
  FloatColumns result_;
};

class Owq final : public WithOptions<Rounder, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "owq"; }
  bool needs_gram() const override { return true; }
  bool stores_scheme_only() const override { return false; }

  void RequireScheme(const Scheme& scheme) const override {
    if (scheme.granularity == Granularity::kTensor) {
      ThrowExpected("granularity channel or group", "tensor",
                    "one range for all would hold the float columns");
    }
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols());
    RequireFinite(input.weight);
    RequireScheme(scheme);

    // Float columns come last, so that the errors of all rounded columns reach them.
    const std::vector<uint32_t> columns = SensitiveColumns(input, scheme, context);
    HessianOptions hessian = options_.hessian;
    hessian.last = columns;
    HessianFactor factor = FactorHessian(input, hessian, context);

    RounderResult result;
    DescribeFactor(factor, hessian.damp, result);
    if (result.fell_back_to_rtn) factor = IdentityFactor(input.weight.cols());

    // Static groups: their ranges are those of W without the float columns.
    QuantizedLinear shape;
    const Grid grid = MakeGrid(input.weight, scheme, shape);
    OwqHooks hooks(grid, factor, columns, input.weight.rows(), input.weight.cols());
    ColumnLoopOptions loop;
    loop.static_groups = true;
    loop.hooks = &hooks;

    result.layer = QuantizeColumns(input.weight, scheme, factor, loop, context);
    result.layer.float_columns = std::move(hooks.result());
    std::string note = FloatColumnsNote(*result.layer.float_columns);
    if (!note.empty()) result.notes.push_back(std::move(note));
    return result;
  }

 private:
  // The columns with the largest λ, in rising order. H_jj is proportional to the Gram matrix's
  // diagonal; ties go to the lower index.
  std::vector<uint32_t> SensitiveColumns(const RounderInput& input, const Scheme& scheme,
                                         const Context& context) const {
    const size_t in = input.weight.cols();
    const Matrix nearest =
        RoundToNearest(input.weight, scheme, ClipSearch::kNone, context).Dequantize();
    // The rounding error of each column, times how large its input is.
    std::vector<double> sensitivity(in, 0.0);
    for (size_t r = 0; r < input.weight.rows(); ++r) {
      for (size_t c = 0; c < in; ++c) {
        const double error = double{input.weight(r, c)} - nearest(r, c);
        sensitivity[c] += error * error;
      }
    }
    for (size_t c = 0; c < in; ++c) sensitivity[c] *= input.gram(c, c);

    std::vector<uint32_t> order(in);
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(
        order, [&](uint32_t a, uint32_t b) { return sensitivity[a] > sensitivity[b]; });

    order.resize(ColumnCount(in));
    std::ranges::sort(order);
    return order;
  }

  // A float column costs 16 bits per row.
  size_t ColumnCount(size_t in) const {
    const double bought = options_.extra_bits * static_cast<double>(in) / 16;
    const double wanted =
        options_.columns > 0 ? static_cast<double>(options_.columns) : std::round(bought);
    return std::min(in, static_cast<size_t>(std::max(1.0, wanted)));
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeOwq(const Yaml* options) {
  return std::make_unique<Owq>(OptionsFrom<Options>(options));
}

}  // namespace qualm
