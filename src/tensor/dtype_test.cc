#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace qualm {
namespace {

constexpr std::array<DType, 10> kAll = {DType::kF64, DType::kF32, DType::kF16, DType::kBF16,
                                        DType::kI64, DType::kI32, DType::kI16, DType::kI8,
                                        DType::kU8,  DType::kBool};

// A binary float format by its definition, in double precision.
struct Format {
  int mantissa_bits, exponent_bits;
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  uint16_t infinity() const {
    return static_cast<uint16_t>(((1u << exponent_bits) - 1) << mantissa_bits);
  }
};
constexpr Format kHalf{10, 5}, kBrain{7, 8};

// The value of a code that is not NaN.
double ValueOf(Format f, uint16_t code) {
  const int magnitude = code & 0x7fff;
  const int exponent = magnitude >> f.mantissa_bits;
  const int mantissa = magnitude & ((1 << f.mantissa_bits) - 1);
  const double sign = (code & 0x8000) != 0 ? -1 : 1;
  if (magnitude == f.infinity()) return sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - f.bias() - f.mantissa_bits);
  return sign *
         std::ldexp((1 << f.mantissa_bits) + mantissa, exponent - f.bias() - f.mantissa_bits);
}

bool IsNan(Format f, uint16_t code) { return (code & 0x7fff) > f.infinity(); }

// Nearest even by definition: the multiple of the spacing at `value` that is nearest, ties to the
// even multiple (what nearbyint does); beyond half a spacing above the largest finite value:
// infinity.
double RoundedTo(Format f, double value) {
  if (!std::isfinite(value)) return value;
  const int smallest = 1 - f.bias();
  const int exponent = value == 0 ? smallest : std::max(std::ilogb(value), smallest);
  const double spacing = std::ldexp(1.0, exponent - f.mantissa_bits);
  const double rounded = std::nearbyint(value / spacing) * spacing;
  const double largest = ValueOf(f, static_cast<uint16_t>(f.infinity() - 1));
  return std::abs(rounded) > largest ? std::copysign(std::numeric_limits<double>::infinity(), value)
                                     : rounded;
}

TEST(DType, NamesAndSizesAreInverse) {
  for (DType type : kAll) EXPECT_EQ(DTypeFromName(NameOf(type)), type);
  EXPECT_EQ(DTypeFromName("F8_E4M3FNUZ"), std::nullopt);
  EXPECT_EQ(DTypeFromName("f32"), std::nullopt);
  EXPECT_EQ(SizeOf(DType::kF64), 8u);
  EXPECT_EQ(SizeOf(DType::kBF16), 2u);
  EXPECT_EQ(SizeOf(DType::kBool), 1u);
  EXPECT_TRUE(IsFloat(DType::kBF16));
  EXPECT_FALSE(IsFloat(DType::kI64));
  EXPECT_FALSE(IsFloat(DType::kF8E4m3));  // it has no value without a format's scale
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    EXPECT_EQ(DTypeFromName(NameOf(type)), type);
  }
}

TEST(DType, EveryHalfHasItsValueAndComesBack) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const Half half{static_cast<uint16_t>(code)};
    const float value = ToFloat(half);
    if (IsNan(kHalf, half.bits)) {
      ASSERT_TRUE(std::isnan(value)) << code;
      ASSERT_TRUE(IsNan(kHalf, HalfFromFloat(value).bits)) << code;
    } else {
      ASSERT_EQ(static_cast<double>(value), ValueOf(kHalf, half.bits)) << code;
      ASSERT_EQ(HalfFromFloat(value).bits, half.bits) << code;  // the sign of zero as well
    }
  }
}

TEST(DType, EveryBFloat16HasItsValueAndComesBack) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const BFloat16 brain{static_cast<uint16_t>(code)};
    const float value = ToFloat(brain);
    if (IsNan(kBrain, brain.bits)) {
      ASSERT_TRUE(std::isnan(value)) << code;
      ASSERT_TRUE(IsNan(kBrain, BFloat16FromFloat(value).bits)) << code;
    } else {
      ASSERT_EQ(static_cast<double>(value), ValueOf(kBrain, brain.bits)) << code;
      ASSERT_EQ(BFloat16FromFloat(value).bits, brain.bits) << code;
    }
  }
}

// Between every two neighbours: the middle goes to the even code, its float neighbours to the
// nearer one. For the largest finite value the neighbour is infinity.
template <typename FromFloat>
void CheckTies(Format f, FromFloat from_float) {
  for (uint32_t code = 0; code < f.infinity(); ++code) {
    const auto low = static_cast<uint16_t>(code), high = static_cast<uint16_t>(code + 1);
    const double below = ValueOf(f, low);
    const double above = high == f.infinity()
                             ? 2 * below - ValueOf(f, static_cast<uint16_t>(code - 1))
                             : ValueOf(f, high);
    const auto middle = static_cast<float>((below + above) / 2);
    // The lowest subnormals of bfloat16 are float subnormals too, so the middle is always a float.
    ASSERT_EQ(static_cast<double>(middle), (below + above) / 2);
    const float infinity = std::numeric_limits<float>::infinity();
    ASSERT_EQ(from_float(middle).bits, code % 2 == 0 ? low : high) << code;
    ASSERT_EQ(from_float(std::nextafter(middle, 0.0f)).bits, low) << code;
    ASSERT_EQ(from_float(std::nextafter(middle, infinity)).bits, high) << code;
    ASSERT_EQ(from_float(-middle).bits, (code % 2 == 0 ? low : high) | 0x8000) << code;
  }
}

TEST(DType, HalfTiesGoToEven) { CheckTies(kHalf, HalfFromFloat); }
TEST(DType, BFloat16TiesGoToEven) { CheckTies(kBrain, BFloat16FromFloat); }

TEST(DType, RandomFloatsRoundAsDefined) {
  Rng rng(11);
  for (int i = 0; i < 500000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(rng.Next()));
    if (std::isnan(value)) continue;
    ASSERT_EQ(ValueOf(kHalf, HalfFromFloat(value).bits), RoundedTo(kHalf, value)) << value;
    ASSERT_EQ(ValueOf(kBrain, BFloat16FromFloat(value).bits), RoundedTo(kBrain, value)) << value;
  }
}

TEST(DType, NanStaysNanWhateverItsPayload) {
  for (uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    const auto nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(IsNan(kHalf, HalfFromFloat(nan).bits));
    EXPECT_TRUE(IsNan(kBrain, BFloat16FromFloat(nan).bits));
  }
}

TEST(DType, LimitsAreTheFormats) {
  EXPECT_EQ(ToFloat(Half{0x0400}), kSmallestNormalHalf);
  EXPECT_EQ(ToFloat(Half{0x7bff}), kLargestHalf);
  EXPECT_EQ(HalfFromFloat(65519.996f).bits, 0x7bff);
  EXPECT_EQ(HalfFromFloat(65520.0f).bits, 0x7c00);
  EXPECT_EQ(HalfFromFloat(0x1.0p-25f).bits, 0);  // half the smallest: to even, which is zero
  EXPECT_EQ(HalfFromFloat(-0x1.8p-25f).bits, 0x8001);
}

TEST(DType, ArraysConvertFromUnalignedMemory) {
  const std::vector<float> values = {0, -1.5f, 65504, 0x1.0p-14f, -0.0f};
  for (DType type : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<unsigned char> stored(values.size() * SizeOf(type) + 1);
    ConvertFromFloat(values.data(), type, stored.data() + 1, values.size());
    std::vector<float> back(values.size());
    ConvertToFloat(type, stored.data() + 1, back.data(), back.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const float expected =
          type == DType::kBF16 ? static_cast<float>(RoundedTo(kBrain, values[i])) : values[i];
      EXPECT_EQ(back[i], expected);
    }
  }
}

}  // namespace
}  // namespace qualm
