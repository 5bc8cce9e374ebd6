// Fits grids to ranges and rounds values onto them, 16 output rows side by side. The arithmetic is
// written without branches in the inner loops, so that compilers vectorise it, and without library
// functions, so that every machine computes the same bits.
#include "artefact/grid.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "artefact/codebook.h"
#include "base/error.h"

namespace qualm {
namespace {

// The numbers that a scale or a float zero point can be stored as.
struct FloatLimits {
  float smallest_normal, largest;
  float exact_integers;  // whole numbers up to this are exact
};

FloatLimits LimitsOf(DType type) {
  switch (type) {
    case DType::kF16:
      return {kSmallestNormalHalf, kLargestHalf, 0x1p11f};
    case DType::kBF16:
      return {0x1p-126f, 0x1.fep127f, 0x1p8f};
    default:
      return {0x1p-126f, std::numeric_limits<float>::max(), 0x1p24f};
  }
}

// e^2.4 for e >= 0, as e²·2^(0.4·log2 e). This is plain arithmetic without branches, so loops over
// it are vectorised and every machine computes the same bits.
inline float PowerTwoPointFour(float e) {
  // Add a tiny number so that 0 has a logarithm; its square vanishes.
  e += std::numeric_limits<float>::min();

  // e = m·2^k with m in [sqrt(1/2), sqrt(2)).
  const auto bits = std::bit_cast<int32_t>(e);
  const int32_t k = (bits - 0x3f3504f3) >> 23;
  const float m = std::bit_cast<float>(bits - (k << 23));

  // log2 m = 2/ln2·(t + t³/3 + t⁵/5 + t⁷/7), t = (m-1)/(m+1), |t| < 0.172: relative error 1e-7.
  const float t = (m - 1.0f) / (m + 1.0f);
  const float t2 = t * t;
  float series = std::fma(t2, 0.4121985831f, 0.5770780164f);
  series = std::fma(t2, series, 0.9617966939f);
  series = std::fma(t2, series, 2.8853900818f);
  const float y = 0.4f * std::fma(t, series, static_cast<float>(k));

  // 2^y = 2^n·exp(x), |x| < 0.347: relative error 1.2e-7.
  const float n = std::nearbyint(y);
  const float x = (y - n) * 0.6931471806f;
  float power = std::fma(x, 1.0f / 720, 1.0f / 120);
  power = std::fma(x, power, 1.0f / 24);
  power = std::fma(x, power, 1.0f / 6);
  power = std::fma(x, power, 0.5f);
  power = std::fma(x, power, 1.0f);
  power = std::fma(x, power, 1.0f);
  const float scale = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return e * e * power * scale;
}

}  // namespace

float ShrinkFactor(int step) { return static_cast<float>(1.0 - step / 100.0); }

void RangeOfLanes(const float* values, size_t count, float* min, float* max) {
  std::copy_n(values, kPanelLanes, min);
  std::copy_n(values, kPanelLanes, max);
  for (size_t i = 1; i < count; ++i) {
    const float* value = values + i * kPanelLanes;
    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      min[lane] = value[lane] < min[lane] ? value[lane] : min[lane];
      max[lane] = value[lane] > max[lane] ? value[lane] : max[lane];
    }
  }
}

Grid::Grid(const Scheme& scheme, int bits, float tensor_scale)
    : scheme_(scheme),
      tensor_scale_(tensor_scale),
      min_code_(0),
      max_code_(static_cast<float>((1 << bits) - 1)),
      middle_(static_cast<float>(1 << (bits - 1))),
      fractional_zero_(scheme.zero_point == ZeroPointKind::kFloat) {
  QUALM_CHECK(bits >= 1 && bits <= 8);

  // Codes of formats are looked up; only integers have bounds for their codes.
  if (scheme.type != NumberType::kInteger) {
    codebook_ = &Codebook::Of(scheme.type);
    QUALM_CHECK(codebook_->bits() == bits);
    return;
  }
  if (scheme.is_symmetric() && scheme.symmetric_convention == SymmetricConvention::kSigned) {
    min_code_ = 1;
  }
}

float Grid::StoredScale(float scale) const {
  const FloatLimits limits = LimitsOf(scheme_.scale_type);
  return RoundTo(std::clamp(scale, limits.smallest_normal, limits.largest), scheme_.scale_type);
}

float Grid::StoredZero(float min, float scale) const {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  float zero = -min / scale;
  if (fractional_zero_) {
    if (std::abs(zero) > LimitsOf(scheme_.scale_type).exact_integers) return kNone;
    return RoundTo(zero, scheme_.scale_type) + 0.0f;  // -0 becomes 0
  }
  zero = std::nearbyint(zero) + 0.0f;
  return zero < 0 || zero > max_code_ ? kNone : zero;
}

GridPoint Grid::FitSymmetric(float min, float max) const {
  const float largest = std::max(std::abs(min), std::abs(max));

  // A group of zeros may have any scale.
  if (largest == 0) return {1, middle_};
  float scale = 0;
  // Each convention maps the largest magnitude to another code.
  switch (scheme_.symmetric_convention) {
    case SymmetricConvention::kGptq:
      scale = (min < 0 ? 2 * largest : largest) / max_code_;
      break;
    case SymmetricConvention::kMiAbsmax:
      scale = largest / std::floor(max_code_ / 2);
      break;
    case SymmetricConvention::kSigned:
      scale = largest / (middle_ - 1);
      break;
    case SymmetricConvention::kFullRange:
      scale = 2 * largest / max_code_;
      break;
  }
  return {StoredScale(scale), middle_};
}

GridPoint Grid::FitFormat(float largest) const {
  // Byte scales are fitted relative to the scale of the tensor (1 for mxfp4).
  if (HasByteScales(scheme_.type)) {
    const float relative = largest / tensor_scale_;
    const float scale = relative > 0 ? FitByteScale(scheme_.type, relative) : 1;
    return {scale * tensor_scale_, 0};
  }
  return {largest == 0 ? 1 : StoredScale(largest / codebook_->largest()), 0};
}

GridPoint Grid::Fit(float min, float max) const {
  if (codebook_ != nullptr) return FitFormat(std::max(std::abs(min), std::abs(max)));
  if (scheme_.is_symmetric()) return FitSymmetric(min, max);

  // Asymmetric: first the range as it is, if the scheme allows that and the zero point can be
  // stored.
  if (!scheme_.range_includes_zero && min < max) {
    const float scale = StoredScale((max - min) / max_code_);
    const float zero = StoredZero(min, scale);
    if (!std::isnan(zero)) return {scale, zero};
  }

  // Otherwise the range is extended to include 0.
  min = std::min(min, 0.0f);
  max = std::max(max, 0.0f);
  if (min == 0 && max == 0) return {1, 0};
  const float scale = StoredScale((max - min) / max_code_);
  // The zero point is out of range only if the scale was lowered to the largest finite number.
  const float zero = StoredZero(min, scale);
  return {scale, std::isnan(zero) ? max_code_ : zero};
}

void Grid::FitLanes(const float* values, size_t count, ClipSearch search, GridLanes& lanes) const {
  std::array<float, kPanelLanes> min, max;
  RangeOfLanes(values, count, min.data(), max.data());

  // Fits all lanes to their range times `factor`.
  auto fit = [&](float factor, GridLanes& to) {
    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      const GridPoint point = Fit(factor * min[lane], factor * max[lane]);
      to.scale[lane] = point.scale;
      to.zero[lane] = point.zero;
    }
  };

  fit(1.0f, lanes);
  if (search == ClipSearch::kNone) return;

  // Search: the range is shrunk step by step, and each lane keeps its best step. Errors are
  // measured in units of the full range's scale, so that their powers stay in float's range.
  std::array<float, kPanelLanes> unit;
  std::array<double, kPanelLanes> best{};
  for (size_t lane = 0; lane < kPanelLanes; ++lane) unit[lane] = 1 / lanes.scale[lane];
  AddClipErrors(values, count, lanes, unit, best.data());

  // All lanes try the same factors, each keeps its own best.
  for (int step = 1; step < kShrinkSteps; ++step) {
    GridLanes shrunk;
    std::array<double, kPanelLanes> errors{};
    fit(ShrinkFactor(step), shrunk);
    AddClipErrors(values, count, shrunk, unit, errors.data());

    // A later step must be strictly better, so the first of equal ones wins.
    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      if (!(errors[lane] < best[lane])) continue;
      best[lane] = errors[lane];
      lanes.scale[lane] = shrunk.scale[lane];
      lanes.zero[lane] = shrunk.zero[lane];
    }
  }
}

void Grid::QuantizeLanes(const float* values, const GridLanes& lanes, uint8_t* codes,
                         float* rounded) const {
  // Formats: the nearest value of the codebook.
  if (codebook_ != nullptr) {
    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      const uint8_t code = codebook_->Nearest(values[lane] / lanes.scale[lane]);
      if (codes != nullptr) codes[lane] = code;
      rounded[lane] = lanes.scale[lane] * codebook_->Value(code);
    }
    return;
  }

  // Integers. A whole zero point is added after rounding, a fractional one before; adding 0 is
  // exact.
  const float before = fractional_zero_ ? 1.0f : 0.0f, after = 1.0f - before;
  std::array<float, kPanelLanes> code;
  for (size_t lane = 0; lane < kPanelLanes; ++lane) {
    const float scale = lanes.scale[lane], zero = lanes.zero[lane];
    float q = std::nearbyint(values[lane] / scale + before * zero) + after * zero;
    q = q > min_code_ ? q : min_code_;
    q = q < max_code_ ? q : max_code_;
    code[lane] = q;
    rounded[lane] = scale * (q - zero);
  }

  // Bytes are written in a second loop, so that the first one is float arithmetic alone.
  if (codes == nullptr) return;
  for (size_t lane = 0; lane < kPanelLanes; ++lane) {
    codes[lane] = static_cast<uint8_t>(static_cast<int32_t>(code[lane]));
  }
}

void Grid::AddClipErrors(const float* values, size_t count, const GridLanes& lanes,
                         const std::array<float, kPanelLanes>& unit, double* errors) const {
  constexpr size_t kShortSum = 128;  // values added in float before they join the double
  std::array<float, kPanelLanes> rounded;
  for (size_t first = 0; first < count; first += kShortSum) {
    // Short sums in float are exact enough, and much faster than sums in double.
    std::array<float, kPanelLanes> sum{};
    for (size_t i = first; i < std::min(count, first + kShortSum); ++i) {
      const float* value = values + i * kPanelLanes;
      QuantizeLanes(value, lanes, nullptr, rounded.data());
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        sum[lane] += PowerTwoPointFour(std::abs(value[lane] - rounded[lane]) * unit[lane]);
      }
    }

    for (size_t lane = 0; lane < kPanelLanes; ++lane) errors[lane] += double{sum[lane]};
  }
}

}  // namespace qualm
