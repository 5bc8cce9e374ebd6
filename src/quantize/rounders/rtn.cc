// Round to nearest, with the range of a group as it is or clipped (option `clip: mse`).
// docs/methods/rtn.md
#include "quantize/rounders/rtn.h"

#include <algorithm>
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
  const size_t in = weight.cols();
  QuantizedLinear layer = MakeQuantizedLinear(weight.rows(), in, scheme);
  const Grid grid = MakeGrid(weight, scheme, layer);
  GridPoint tensor_point;
  const bool is_per_tensor = scheme.granularity == Granularity::kTensor;
  if (is_per_tensor) tensor_point = FitTensor(weight, grid, search, pool);
  pool.ParallelFor(StripCount(weight.rows()), [&](size_t strip) {
    const size_t first_row = strip * kGridLanes;
    AlignedArray<float> values(in * kGridLanes);
    AlignedArray<uint8_t> codes(in * kGridLanes);
    std::array<float, kGridLanes> rounded;
    LoadStrip(weight, first_row, values.data());
    for (size_t group = 0; group < layer.group_count(); ++group) {
      const size_t begin = group * layer.group_size();
      const size_t end = std::min(in, begin + layer.group_size());
      GridLanes lanes = SamePoint(tensor_point);
      if (!is_per_tensor) {
        grid.FitLanes(values.data() + begin * kGridLanes, end - begin, search, lanes);
      }
      StorePoints(lanes, first_row, group, layer);
      for (size_t c = begin; c < end; ++c) {
        grid.QuantizeLanes(values.data() + c * kGridLanes, lanes, codes.data() + c * kGridLanes,
                           rounded.data());
      }
    }
    StoreCodes(codes.data(), first_row, {}, layer);
  });
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
