// Round to nearest, with the range of a group as it is or clipped (option `clip: mse`).
// docs/methods/rtn.md
#include "quantize/rounders/rtn.h"

#include <array>
#include <string>
#include <vector>

#include "base/strings.h"
#include "base/thread_pool.h"
#include "io/yaml.h"
#include "quantize/lanes.h"

namespace qualm {
namespace {

class Rtn final : public Rounder {
 public:
  explicit Rtn(ClipSearch search) : search_(search) {}
  std::string_view name() const override { return "rtn"; }
  bool needs_gram() const override { return false; }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      ThreadPool& pool) const override {
    RequireStaticScheme(scheme, input.weight.cols(), input.layer);
    RequireFinite(input.weight, input.layer);
    RounderResult result;
    result.layer = RoundToNearest(input.weight, scheme, search_, pool);
    return result;
  }

  std::string OptionsJson() const override {
    return search_ == ClipSearch::kMse ? R"({"clip": "mse"})" : R"({"clip": "none"})";
  }

 private:
  ClipSearch search_;
};

}  // namespace

QuantizedLinear RoundToNearest(Span2D<const float> weight, const Scheme& scheme, ClipSearch search,
                               ThreadPool& pool) {
  QuantizedLinear layer = MakeQuantizedLinear(weight.rows(), weight.cols(), scheme);
  const Grid grid = MakeGrid(weight, scheme, layer);
  if (scheme.granularity == Granularity::kTensor) {
    const GridLanes lanes = SamePoint(FitTensor(weight, grid, search, pool));
    RoundByGroup(
        weight, grid, [&](const float*, size_t, GridLanes& to) { to = lanes; }, layer, pool);
  } else {
    RoundByGroup(
        weight, grid,
        [&](const float* values, size_t count, GridLanes& to) {
          grid.FitLanes(values, count, search, to);
        },
        layer, pool);
  }
  return layer;
}

std::unique_ptr<Rounder> MakeRtn(const Yaml* options) {
  ClipSearch search = ClipSearch::kNone;
  if (options != nullptr) {
    options->RequireKnownKeys(std::array<std::string, 1>{"clip"});
    if (const Yaml* clip = options->Find("clip")) {
      const std::vector<std::string> known = {"none", "mse"};
      const std::string value = clip->AsString();
      if (value != "none" && value != "mse") {
        ThrowUnknownName(clip->place(), "clip", value, known);
      }
      if (value == "mse") search = ClipSearch::kMse;
    }
  }
  return std::make_unique<Rtn>(search);
}

}  // namespace qualm
