// The rounding of a layer's inputs: a token's numbers come in, rounded numbers or codes with their
// scale go out. Loops work on 16 lanes, which compilers keep in vector registers; lanes never mix,
// so every machine gives the same result.
#include "artefact/activations.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {

void ValidateActivationScheme(const Scheme& scheme) {
  scheme.Validate();

  // Every refusal below is about a product that could not be computed, or would depend on the
  // batch.
  if (scheme.granularity == Granularity::kChannel) {
    ThrowExpected("granularity token, group or tensor for activations", "channel",
                  "a scale per input channel cannot be taken out of the product");
  }
  if (scheme.dynamic == (scheme.granularity == Granularity::kTensor)) {
    ThrowExpected("dynamic: true per token and group, false per tensor",
                  scheme.dynamic ? "true" : "false",
                  "one dynamic scale for a tensor would depend on the batch");
  }
  const bool has_whole_zero =
      scheme.zero_point == ZeroPointKind::kNone || scheme.zero_point == ZeroPointKind::kInteger;
  if (!has_whole_zero || scheme.second_level) {
    ThrowExpected(
        "whole zero points, scales of one level for activations",
        scheme.second_level ? "second_level" : StrCat("zero_point: ", NameOf(scheme.zero_point)));
  }
  if (scheme.type == NumberType::kTable) {
    ThrowExpected("a type that is defined without a layer for activations", "table");
  }
  if (scheme.type == NumberType::kNvfp4) {
    ThrowExpected("a type without a scale per tensor for activations", "nvfp4",
                  "mxfp4 has the same values");
  }
}

EnumNames NamesOfEnum(GroupScaleRule) {
  static constexpr std::array<std::string_view, 3> kNames = {"grid", "power_of_two", "global"};
  return {"rule of group scales", kNames};
}

void ActivationGrid::Validate() const {
  if (rule != GroupScaleRule::kGrid) {
    scheme.Validate();
    const bool is_global = rule == GroupScaleRule::kGlobal;
    const bool fits =
        scheme.granularity == Granularity::kGroup && scheme.dynamic &&
        (is_global ? scheme.type == NumberType::kNvfp4
                   : scheme.type == NumberType::kMxfp4 || scheme.type == NumberType::kFp8E4m3);
    if (!fits) {
      ThrowExpected(StrCat("dynamic groups of a type that scales of the rule ", NameOfEnum(rule),
                           " belong to"),
                    scheme.ShortName());
    }
    if (is_global && (!std::isnormal(global_scale) || global_scale < 0)) {
      ThrowExpected("a positive global scale", StrCat(global_scale));
    }
    return;
  }

  ValidateActivationScheme(scheme);
  if (scheme.dynamic) return;

  if (!std::isnormal(point.scale) || point.scale < 0) {
    ThrowExpected("a positive scale", StrCat(point.scale));
  }
  const auto most = static_cast<float>((1 << scheme.bits) - 1);
  if (!(point.zero >= 0 && point.zero <= most) || point.zero != std::nearbyint(point.zero)) {
    ThrowExpected(StrCat("a whole zero point in 0..", most), StrCat(point.zero));
  }
}

std::string ActivationShortName(const Scheme& scheme) {
  std::string name(NameOf(scheme.type));
  if (scheme.type == NumberType::kInteger) name += StrCat(scheme.bits);
  name += scheme.granularity == Granularity::kGroup ? StrCat("-g", scheme.group_size)
                                                    : StrCat("-", NameOf(scheme.granularity));
  if (!scheme.is_symmetric()) name += "-asym";
  return name;
}

void RangeOf(std::span<const float> values, float& min, float& max) {
  // Lanes of partial results, which the compiler keeps in vector registers.
  std::array<float, kPanelLanes> low, high;
  low.fill(values[0]);
  high.fill(values[0]);

  size_t i = 0;
  for (; i + kPanelLanes <= values.size(); i += kPanelLanes) {
    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      const float v = values[i + lane];
      low[lane] = v < low[lane] ? v : low[lane];
      high[lane] = v > high[lane] ? v : high[lane];
    }
  }

  // The last values join the first lane.
  for (; i < values.size(); ++i) {
    low[0] = std::min(low[0], values[i]);
    high[0] = std::max(high[0], values[i]);
  }

  min = *std::ranges::min_element(low);
  max = *std::ranges::max_element(high);
}

ActivationQuantizer::ActivationQuantizer(const ActivationGrid& grid)
    : activations_(grid), grid_(grid.scheme, grid.scheme.bits) {}

namespace {

// Whether all numbers are finite: a product with 0 is 0 only then. The products are added up in
// lanes.
bool IsAllFinite(std::span<const float> x) {
  std::array<float, kPanelLanes> sums{};
  size_t i = 0;
  for (; i + kPanelLanes <= x.size(); i += kPanelLanes) {
    for (size_t lane = 0; lane < kPanelLanes; ++lane) sums[lane] += x[i + lane] * 0;
  }
  for (; i < x.size(); ++i) sums[0] += x[i] * 0;
  return std::ranges::all_of(sums, [](float sum) { return sum == 0; });
}

}  // namespace

namespace {

// compressed-tensors' generate_mx_scales: a quarter of the octave is added to the largest magnitude
// before its mantissa is dropped, so that 1.75 and more go to the next power of two; then the
// exponent of the format's largest value is taken off.
float PowerOfTwoScale(float largest, NumberType type) {
  constexpr uint32_t kRaise = 1u << (23 - 1 - 1), kExponent = 0x7f800000u;
  const float power = std::bit_cast<float>((std::bit_cast<uint32_t>(largest) + kRaise) & kExponent);
  const int most = type == NumberType::kFp8E4m3 ? 8 : 2;  // 448 = 1.75·2^8, 6 = 1.5·2^2
  const int exponent = power > 0 ? std::ilogb(power) - most : -127;
  return std::ldexp(1.0f, std::clamp(exponent, -127, 127));
}

// The e4m3 number nearest to the scale that maps the largest magnitude to 6, relative to the global
// scale; 1/8 where that is 0.
float GlobalScale(float largest, float global) {
  const Codebook& e4m3 = Codebook::Of(NumberType::kFp8E4m3);
  const float scale = e4m3.Value(e4m3.Nearest(global * (largest / 6.0f)));
  return (scale == 0 ? 0.125f : scale) / global;
}

}  // namespace

// A token with NaN or infinity gets the scale NaN, which makes its whole result NaN.
GridPoint ActivationQuantizer::Fit(std::span<const float> x) const {
  if (!IsAllFinite(x)) return {std::numeric_limits<float>::quiet_NaN(), 0};
  if (activations_.scheme.granularity == Granularity::kTensor) return activations_.point;
  float min = 0, max = 0;
  RangeOf(x, min, max);
  const float largest = std::max(std::abs(min), std::abs(max));
  if (activations_.rule == GroupScaleRule::kPowerOfTwo) {
    return {PowerOfTwoScale(largest, activations_.scheme.type), 0};
  }
  if (activations_.rule == GroupScaleRule::kGlobal) {
    return {GlobalScale(largest, activations_.global_scale), 0};
  }
  return grid_.Fit(min, max);
}

void RoundSame(const Grid& grid, GridPoint point, std::span<const float> x, uint8_t* codes,
               float* rounded) {
  // Values that share a scale and zero point are the case of equal lanes.
  GridLanes lanes;
  lanes.scale.fill(point.scale);
  lanes.zero.fill(point.zero);

  size_t i = 0;
  std::array<float, kPanelLanes> values{}, ignored;
  std::array<uint8_t, kPanelLanes> last_codes;
  for (; i + kPanelLanes <= x.size(); i += kPanelLanes) {
    grid.QuantizeLanes(x.data() + i, lanes, codes == nullptr ? nullptr : codes + i,
                       rounded == nullptr ? ignored.data() : rounded + i);
  }

  // Whole lanes: finished, which is the usual case.
  if (i == x.size()) return;
  // The last values fill only a part of the lanes.
  const size_t rest = x.size() - i;
  std::copy_n(x.data() + i, rest, values.data());
  grid.QuantizeLanes(values.data(), lanes, last_codes.data(), ignored.data());
  if (codes != nullptr) std::copy_n(last_codes.data(), rest, codes + i);
  if (rounded != nullptr) std::copy_n(ignored.data(), rest, rounded + i);
}

void ActivationQuantizer::Round(std::span<const float> x, std::span<float> rounded) const {
  // A part is a group, or the whole token.
  const size_t step = activations_.scheme.GroupSize(x.size());
  for (size_t first = 0; first < x.size(); first += step) {
    const std::span<const float> part = x.subspan(first, std::min(step, x.size() - first));
    RoundSame(grid_, Fit(part), part, nullptr, rounded.data() + first);
  }
}

GridPoint ActivationQuantizer::Quantize(std::span<const float> x, std::span<uint8_t> codes) const {
  QUALM_CHECK(activations_.scheme.granularity != Granularity::kGroup);
  if (x.empty()) return {};
  const GridPoint point = Fit(x);
  RoundSame(grid_, point, x, codes.data(), nullptr);
  return point;
}

}  // namespace qualm
