// OWQ (Lee et al. 2023): the input columns whose rounding costs most, λ_j = H_jj·‖W_:j − Q(W_:j)‖²
// (section 3.2), are kept in fp16; GPTQ rounds the others and feeds its errors into the kept ones,
// too. In: weights and the Gram matrix. Out: codes, and the float columns.
#include "quantize/rounders/owq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "artefact/grid.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "quantize/gptq_columns.h"
#include "quantize/hessian.h"
#include "quantize/lanes.h"
#include "quantize/method_options.h"
#include "quantize/outlier_lists.h"
#include "quantize/rounders/rtn.h"

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

// Ranges without the float columns; their values behind all updates.
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
    AlignedArray<float> kept(count * kGridLanes);
    size_t number = 0;
    for (size_t i = 0; i < count; ++i) {
      if (place_[position + i] != kNone) continue;
      std::copy_n(values + i * kGridLanes, kGridLanes, kept.data() + number++ * kGridLanes);
    }
    if (number == 0) {  // nothing of the group is rounded
      std::fill_n(kept.data(), kGridLanes, 0.0f);
      number = 1;
    }
    grid_.FitLanes(kept.data(), number, ClipSearch::kNone, lanes);
  }

  void Keep(size_t first_row, size_t position, const float* values, float* rounded) override {
    const size_t place = place_[factor_.order.empty() ? position : factor_.order[position]];
    if (place == kNone) return;
    for (size_t l = 0; l < kGridLanes && first_row + l < rows_; ++l) {
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

  void RequireScheme(const Scheme& scheme, std::string_view layer) const override {
    if (scheme.granularity == Granularity::kTensor) {
      ThrowBadInput(StrCat("layer ", layer), "granularity channel or group", "tensor",
                    "one range for all would hold the float columns");
    }
  }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      ThreadPool& pool) const override {
    RequireStaticScheme(scheme, input.weight.cols(), input.layer);
    RequireFinite(input.weight, input.layer);
    RequireScheme(scheme, input.layer);
    const std::vector<uint32_t> columns = SensitiveColumns(input, scheme, pool);
    HessianOptions hessian = options_.hessian;
    hessian.last = columns;
    HessianFactor factor = FactorHessian(input, hessian, pool);
    RounderResult result;
    DescribeFactor(factor, hessian.damp, result);
    if (result.fell_back_to_rtn) factor = IdentityFactor(input.weight.cols());
    QuantizedLinear shape;
    const Grid grid = MakeGrid(input.weight, scheme, shape);
    OwqHooks hooks(grid, factor, columns, input.weight.rows(), input.weight.cols());
    ColumnLoopOptions loop;
    loop.static_groups = true;
    loop.hooks = &hooks;
    result.layer = QuantizeColumns(input.weight, scheme, factor, loop, pool);
    result.layer.float_columns = std::move(hooks.result());
    std::string note = FloatColumnsNote(*result.layer.float_columns);
    if (!note.empty()) result.notes.push_back(std::move(note));
    return result;
  }

 private:
  // Rising. H_jj is proportional to the Gram matrix's diagonal; ties by index.
  std::vector<uint32_t> SensitiveColumns(const RounderInput& input, const Scheme& scheme,
                                         ThreadPool& pool) const {
    const size_t in = input.weight.cols();
    const Matrix nearest =
        RoundToNearest(input.weight, scheme, ClipSearch::kNone, pool).Dequantize();
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
