// Round to nearest, with each group's range as it is or clipped (option `clip: mse`). In: weights.
// Out: codes. docs/methods/rtn.md
#include "methods/rounders/rtn.h"

#include <array>

#include "methods/columns/lanes.h"
#include "methods/method_options.h"

namespace qualm {
namespace {

enum class Clip { kNone, kMse };

EnumNames NamesOfEnum(Clip) {
  static constexpr std::array<std::string_view, 2> kNames = {"none", "mse"};
  return {"clip", kNames};
}

struct Options {
  Clip clip = Clip::kNone;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("clip", self.clip, {.meaning = "how the range of a group is chosen"});
  }
};

class Rtn final : public WithOptions<Rounder, Options> {
 public:
  using WithOptions::WithOptions;
  std::string_view name() const override { return "rtn"; }
  bool needs_gram() const override { return false; }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols());
    RequireFinite(input.weight);
    const ClipSearch search = options_.clip == Clip::kMse ? ClipSearch::kMse : ClipSearch::kNone;
    RounderResult result;
    result.layer = RoundToNearest(input.weight, scheme, search, context);
    return result;
  }
};

}  // namespace

QuantizedLinear RoundToNearest(Span2D<const float> weight, const Scheme& scheme, ClipSearch search,
                               const Context& context) {
  QuantizedLinear layer = MakeQuantizedLinear(weight.rows(), weight.cols(), scheme);
  const Grid grid = MakeGrid(weight, scheme, layer);
  // One point for the whole matrix, or one for each group.
  if (scheme.granularity == Granularity::kTensor) {
    const GridLanes lanes = SamePoint(FitTensor(weight, grid, search, context));
    RoundByGroup(
        weight, grid, [&](const float*, size_t, GridLanes& to) { to = lanes; }, layer, context);
  } else {
    RoundByGroup(
        weight, grid,
        [&](const float* values, size_t count, GridLanes& to) {
          grid.FitLanes(values, count, search, to);
        },
        layer, context);
  }
  return layer;
}

std::unique_ptr<Rounder> MakeRtn(const Yaml* options) {
  return std::make_unique<Rtn>(OptionsFrom<Options>(options));
}

}  // namespace qualm
