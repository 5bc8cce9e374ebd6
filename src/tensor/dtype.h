// Element types as they are stored, and exact conversions between the 16-bit floats and float.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace qualm {

// The types after kBool are only carried: formats of quantized models give them a meaning.
enum class DType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kF8E4m3,
  kF8E5m2,
  kF8E8m0,
  kU16,
  kU32,
  kU64,
};
inline constexpr size_t kDTypeCount = 16;

size_t SizeOf(DType type);            // bytes of one element
std::string_view NameOf(DType type);  // as safetensors spells it: "F32", "BF16"
std::optional<DType> DTypeFromName(std::string_view name);  // inverse of NameOf; empty if unknown
bool IsFloat(DType type);

// A 16-bit float as raw bits. Conversions to float are exact; from float they round to nearest
// even, overflow to infinity, and keep NaN a (quiet) NaN.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

float ToFloat(Half h);
Half HalfFromFloat(float value);
inline float ToFloat(BFloat16 b) { return std::bit_cast<float>(uint32_t{b.bits} << 16); }
BFloat16 BFloat16FromFloat(float value);

inline constexpr float kSmallestNormalHalf = 0x1.0p-14f;
inline constexpr float kLargestHalf = 65504.0f;

// `value` rounded to kF16 or kBF16 and back; itself for other types.
float RoundTo(float value, DType type);

// Converts `count` elements of a float type (F64, F32, F16, BF16) to float. Requires:
// IsFloat(type).
void ConvertToFloat(DType type, const void* from, float* to, size_t count);
// Rounds `count` floats to a float type.
void ConvertFromFloat(const float* from, DType type, void* to, size_t count);

}  // namespace qualm
