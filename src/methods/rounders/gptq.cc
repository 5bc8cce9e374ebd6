// GPTQ's options, and the fallback if the Hessian cannot be used. In: weights and the Gram matrix.
// Out: codes. The work is done in hessian.cc and gptq_columns.cc.
#include "methods/rounders/gptq.h"

#include "base/error_place.h"
#include "base/strings.h"
#include "methods/columns/gptq_columns.h"
#include "methods/columns/hessian.h"
#include "methods/columns/lanes.h"
#include "methods/method_options.h"
#include "methods/rounders/rtn.h"

namespace qualm {
namespace {

struct GptqOptions {
  HessianOptions hessian;
  ColumnLoopOptions columns;
  bool mse = false;
  bool gram64 = false;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("act_order", self.hessian.act_order,
          {.meaning = "columns by falling diagonal of H instead of left to right"});
    // With act-order the groups stay in the matrix's order unless asked otherwise, so no g_idx is
    // needed at run time.
    visit("static_groups", self.columns.static_groups,
          {.meaning = "scales of all groups from W before any update; by default as act_order"},
          self.hessian.act_order);
    visit("damp", self.hessian.damp,
          {.meaning = "damp times the mean of diag(H) is added to the diagonal",
           .range = InRange(0, 100),
           .hint = "it is relative to the mean of diag(H); 0.01 is usual"});
    visit("block", self.columns.block,
          {.meaning = "columns per lazy update; does not change the result",
           .range = InRange(1, 65536)});
    visit("reference_group_scales", self.columns.reference_group_scales,
          {.meaning = "group ranges as the reference program reads them"});
    visit("mse", self.mse, {.meaning = "clip ranges, as rtn does with clip: mse"});
    visit("gram64", self.gram64, {.meaning = "the Gram matrix and its factor in float64"});
  }

  void Validate() const {
    if (columns.static_groups && columns.reference_group_scales) {
      ThrowExpected("static_groups or reference_group_scales", "both",
                    "static groups are fitted before any update");
    }
  }
};

class Gptq final : public WithOptions<Rounder, GptqOptions> {
 public:
  using WithOptions::WithOptions;
  std::string_view name() const override { return "gptq"; }
  bool needs_gram() const override { return true; }
  bool stores_scheme_only() const override {
    return !options_.hessian.act_order || options_.columns.static_groups;
  }
  bool needs_gram64() const override { return options_.gram64; }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols());
    RequireFinite(input.weight);
    ColumnLoopOptions columns = options_.columns;
    columns.search = options_.mse ? ClipSearch::kMse : ClipSearch::kNone;

    // Layers that read the same input may share their factor.
    FactorCache own;
    FactorCache& factors = input.factors != nullptr ? *input.factors : own;
    const HessianFactor& factor = factors.Get(input, options_.hessian, context);

    RounderResult result;
    DescribeFactor(factor, options_.hessian.damp, result);
    if (result.fell_back_to_rtn) {
      result.layer = RoundToNearest(input.weight, scheme, columns.search, context);
      return result;
    }

    // Dead inputs are not a reason to fall back, but the user should know of them.
    if (factor.dead_count > 0) {
      result.notes.push_back(StrCat(factor.dead_count,
                                    " inputs were always 0 in the calibration data: their "
                                    "weights are set to 0"));
    }
    result.layer = QuantizeColumns(input.weight, scheme, factor, columns, context);
    return result;
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeGptq(const Yaml* options) {
  return std::make_unique<Gptq>(OptionsFrom<GptqOptions>(options));
}

}  // namespace qualm
