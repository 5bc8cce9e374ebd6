// The number formats with fixed values: tables of their values, made from the definition of each
// format, and the search for the nearest value. Scales that are single bytes are encoded here as
// well.
#include "artefact/codebook.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace qualm {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLargestE2m1 = 6, kLargestE4m3 = 448;

// A small float format: the widths of its fields and the exponent's bias.
struct FloatFormat {
  int exponent_bits, mantissa_bits, bias;
  // What the highest exponent means: numbers, numbers except for one code, or infinities and NaN.
  enum class Top { kNumbers, kNumbersButOne, kSpecial } top;
};

// All 2^(1 + exponent_bits + mantissa_bits) codes by the definition of the format.
std::vector<float> ValuesOf(const FloatFormat& format) {
  const int bits = 1 + format.exponent_bits + format.mantissa_bits;
  const int exponents = 1 << format.exponent_bits, mantissas = 1 << format.mantissa_bits;
  std::vector<float> values;

  // Codes in order: sign, exponent and mantissa are their bits from the top.
  for (int code = 0; code < 1 << bits; ++code) {
    const int mantissa = code % mantissas, exponent = code / mantissas % exponents;
    const bool is_top = exponent == exponents - 1;
    const bool is_number =
        !is_top || format.top == FloatFormat::Top::kNumbers ||
        (format.top == FloatFormat::Top::kNumbersButOne && mantissa != mantissas - 1);

    // Denormal numbers have the exponent 1 and no leading one.
    const double fraction = static_cast<double>(mantissa) / mantissas + (exponent > 0 ? 1 : 0);
    const double magnitude = std::ldexp(fraction, std::max(exponent, 1) - format.bias);
    const bool is_negative = code >> (bits - 1) != 0;
    const double value = is_negative ? -magnitude : magnitude;
    values.push_back(is_number ? static_cast<float>(value) : kNan);
  }
  return values;
}

// The levels that QLoRA published: quantiles of a normal distribution, with an exact 0.
constexpr std::array<float, 16> kNf4 = {-1.0f,
                                        -0.6961928009986877f,
                                        -0.5250730514526367f,
                                        -0.39491748809814453f,
                                        -0.28444138169288635f,
                                        -0.18477343022823334f,
                                        -0.09105003625154495f,
                                        0.0f,
                                        0.07958029955625534f,
                                        0.16093020141124725f,
                                        0.24611230194568634f,
                                        0.33791524171829224f,
                                        0.44070982933044434f,
                                        0.5626170039176941f,
                                        0.7229568362236023f,
                                        1.0f};

}  // namespace

Codebook::Codebook(int bits, float largest, std::span<const float> values)
    : bits_(bits), largest_(largest) {
  QUALM_CHECK(values.size() == size_t{1} << bits);
  values_.fill(kNan);
  std::ranges::copy(values, values_.begin());
  // Only distinct numbers can be the nearest one: NaN and -0 have no place in the search.
  for (size_t code = 0; code < values.size(); ++code) {
    const bool is_negative_zero = values[code] == 0 && std::signbit(values[code]);
    if (std::isnan(values[code]) || is_negative_zero) continue;
    codes_.push_back(static_cast<uint8_t>(code));
  }

  // Nearest looks a number up between neighbours, so codes are sorted by value.
  std::ranges::sort(codes_, [&](uint8_t a, uint8_t b) { return values_[a] < values_[b]; });
  // A middle is exact in double, so ties are recognised exactly.
  for (size_t i = 0; i + 1 < codes_.size(); ++i) {
    middles_.push_back((double{values_[codes_[i]]} + double{values_[codes_[i + 1]]}) / 2);
  }
}

const Codebook& Codebook::Of(NumberType type) {
  using Top = FloatFormat::Top;
  // Each table is made once, at its first use.
  static const Codebook nf4(4, 1, kNf4);
  static const Codebook e4m3(8, kLargestE4m3, ValuesOf({4, 3, 7, Top::kNumbersButOne}));
  static const Codebook e4m3_ieee(8, 240, ValuesOf({4, 3, 7, Top::kSpecial}));
  static const Codebook e5m2(8, 57344, ValuesOf({5, 2, 15, Top::kSpecial}));
  static const Codebook e2m1(4, kLargestE2m1, ValuesOf({2, 1, 1, Top::kNumbers}));

  // mxfp4 and nvfp4 differ in their scales only.
  switch (type) {
    case NumberType::kNf4:
      return nf4;
    case NumberType::kFp8E4m3:
      return e4m3;
    case NumberType::kFp8E4m3Ieee:
      return e4m3_ieee;
    case NumberType::kFp8E5m2:
      return e5m2;
    case NumberType::kMxfp4:
    case NumberType::kNvfp4:
      return e2m1;
    case NumberType::kInteger:
    case NumberType::kTable:  // QuantizedLinear::table
      break;
  }
  internal::CheckFailed("a number type with a codebook", __FILE__, __LINE__);
}

uint8_t Codebook::Nearest(float x) const {
  const auto above = std::ranges::lower_bound(middles_, double{x});
  auto index = static_cast<size_t>(above - middles_.begin());
  // Exactly on a middle the even code wins. Neighbours' codes differ in their last bit.
  if (above != middles_.end() && *above == double{x} && codes_[index] % 2 != 0) ++index;
  return codes_[index];
}

size_t StoredScaleBytes(const Scheme& scheme) {
  return HasByteScales(scheme.type) ? 1 : SizeOf(scheme.scale_type);
}

float DecodeByteScale(NumberType type, uint8_t byte) {
  QUALM_CHECK(HasByteScales(type));
  if (type == NumberType::kNvfp4) return Codebook::Of(NumberType::kFp8E4m3).Value(byte);
  return byte == 255 ? kNan : std::ldexp(1.0f, int{byte} - 127);
}

uint8_t EncodeByteScale(NumberType type, float scale) {
  QUALM_CHECK(HasByteScales(type));
  if (type == NumberType::kNvfp4) return Codebook::Of(NumberType::kFp8E4m3).Nearest(scale);
  return static_cast<uint8_t>(std::ilogb(scale) + 127);
}

float FitByteScale(NumberType type, float largest) {
  QUALM_CHECK(HasByteScales(type) && largest > 0);
  if (type == NumberType::kNvfp4) {
    constexpr float kSmallestNormal = 0x1p-6f;
    const Codebook& e4m3 = Codebook::Of(NumberType::kFp8E4m3);
    return e4m3.Value(e4m3.Nearest(std::max(largest / kLargestE2m1, kSmallestNormal)));
  }
  // OCP's rule: floor(log2 of the largest) minus the exponent of the format's largest value, 6 =
  // 1.5·2^2. float32's smallest normal number bounds it below.
  return std::ldexp(1.0f, std::clamp(std::ilogb(largest) - 2, -126, 127));
}

float TensorScaleFor(float largest) {
  constexpr float kSmallest = std::numeric_limits<float>::min();
  return largest == 0 ? 1 : std::max(largest / (kLargestE2m1 * kLargestE4m3), kSmallest);
}

}  // namespace qualm
