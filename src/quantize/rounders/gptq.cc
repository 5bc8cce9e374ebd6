// GPTQ's options and what happens where the Hessian cannot be used; the work is in hessian.cc and
// gptq_columns.cc.
#include "quantize/rounders/gptq.h"

#include <array>
#include <string>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "quantize/gptq_columns.h"
#include "quantize/hessian.h"
#include "quantize/lanes.h"
#include "quantize/rounders/rtn.h"

namespace qualm {
namespace {

constexpr int64_t kLargestBlock = 65536;

struct GptqOptions {
  HessianOptions hessian;
  ColumnLoopOptions columns;
  bool gram64 = false;
};

class Gptq final : public Rounder {
 public:
  explicit Gptq(const GptqOptions& options) : options_(options) {}
  std::string_view name() const override { return "gptq"; }
  bool needs_gram() const override { return true; }
  bool stores_scheme_only() const override {
    return !options_.hessian.act_order || options_.columns.static_groups;
  }
  bool needs_gram64() const override { return options_.gram64; }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      ThreadPool& pool) const override {
    RequireStaticScheme(scheme, input.weight.cols(), input.layer);
    RequireFinite(input.weight, input.layer);
    FactorCache own;
    FactorCache& factors = input.factors != nullptr ? *input.factors : own;
    const HessianFactor& factor = factors.Get(input, options_.hessian, pool);
    RounderResult result;
    DescribeFactor(factor, options_.hessian.damp, result);
    if (result.fell_back_to_rtn) {
      result.layer = RoundToNearest(input.weight, scheme, options_.columns.search, pool);
      return result;
    }
    if (factor.dead_count > 0) {
      result.notes.push_back(StrCat(factor.dead_count,
                                    " inputs were always 0 in the calibration data: their "
                                    "weights are set to 0"));
    }
    result.layer = QuantizeColumns(input.weight, scheme, factor, options_.columns, pool);
    return result;
  }

  std::string OptionsJson() const override {
    const bool mse = options_.columns.search == ClipSearch::kMse;
    return StrCat(R"({"act_order": )", options_.hessian.act_order, R"(, "static_groups": )",
                  options_.columns.static_groups, R"(, "damp": )", options_.hessian.damp,
                  R"(, "block": )", options_.columns.block, R"(, "reference_group_scales": )",
                  options_.columns.reference_group_scales, R"(, "mse": )", mse, R"(, "gram64": )",
                  options_.gram64, "}");
  }

 private:
  GptqOptions options_;
};

GptqOptions Parse(const Yaml& yaml) {
  yaml.RequireKnownKeys(std::array<std::string, 7>{"act_order", "static_groups", "damp", "block",
                                                   "reference_group_scales", "mse", "gram64"});
  GptqOptions options;
  options.hessian.act_order = BoolOption(&yaml, "act_order", false);
  // With act-order the groups stay where they are unless asked otherwise: no g_idx at run time.
  options.columns.static_groups = BoolOption(&yaml, "static_groups", options.hessian.act_order);
  options.columns.reference_group_scales = BoolOption(&yaml, "reference_group_scales", false);
  options.gram64 = BoolOption(&yaml, "gram64", false);
  if (BoolOption(&yaml, "mse", false)) options.columns.search = ClipSearch::kMse;
  if (const Yaml* damp = yaml.Find("damp")) {
    options.hessian.damp = damp->AsDouble();
    if (options.hessian.damp < 0 || options.hessian.damp > 100) {
      ThrowBadInput(damp->place(), "damp in 0..100", damp->AsString(),
                    "it is relative to the mean of diag(H); 0.01 is usual");
    }
  }
  if (const Yaml* block = yaml.Find("block")) {
    const int64_t value = block->AsInt();
    if (value < 1 || value > kLargestBlock) {
      ThrowBadInput(block->place(), StrCat("block in 1..", kLargestBlock), StrCat(value));
    }
    options.columns.block = static_cast<size_t>(value);
  }
  if (options.columns.static_groups && options.columns.reference_group_scales) {
    ThrowBadInput(yaml.place(), "static_groups or reference_group_scales", "both",
                  "static groups are fitted before any update");
  }
  return options;
}

}  // namespace

std::unique_ptr<Rounder> MakeGptq(const Yaml* options) {
  return std::make_unique<Gptq>(options != nullptr ? Parse(*options) : GptqOptions{});
}

}  // namespace qualm
