// The table of element types, and the conversions of 16-bit floats in plain C++. They work on bits,
// so every machine gives the same result; the vector versions are in panel_kernels.cc.
#include "tensor/dtype.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace qualm {
namespace {

// One element type. The table below has the order of the enum.
struct Row {
  DType type;
  std::string_view name;
  size_t size;
};

constexpr std::array<Row, kDTypeCount> kTypes = {{{DType::kF64, "F64", 8},
                                                  {DType::kF32, "F32", 4},
                                                  {DType::kF16, "F16", 2},
                                                  {DType::kBF16, "BF16", 2},
                                                  {DType::kI64, "I64", 8},
                                                  {DType::kI32, "I32", 4},
                                                  {DType::kI16, "I16", 2},
                                                  {DType::kI8, "I8", 1},
                                                  {DType::kU8, "U8", 1},
                                                  {DType::kBool, "BOOL", 1},
                                                  {DType::kF8E4m3, "F8_E4M3", 1},
                                                  {DType::kF8E5m2, "F8_E5M2", 1},
                                                  {DType::kF8E8m0, "F8_E8M0", 1},
                                                  {DType::kU16, "U16", 2},
                                                  {DType::kU32, "U32", 4},
                                                  {DType::kU64, "U64", 8}}};

const Row& RowOf(DType type) { return kTypes[static_cast<size_t>(type)]; }

}  // namespace

size_t SizeOf(DType type) { return RowOf(type).size; }
std::string_view NameOf(DType type) { return RowOf(type).name; }

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const Row& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

bool IsFloat(DType type) { return type <= DType::kBF16; }

float ToFloat(Half h) {
  uint32_t sign = uint32_t{h.bits & 0x8000u} << 16;
  uint32_t exponent = (h.bits >> 10) & 0x1fu;
  uint32_t mantissa = h.bits & 0x3ffu;
  // Infinity and NaN keep their mantissa.
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {  // zero and subnormals: mantissa · 2^-24, exact in float
    float magnitude = static_cast<float>(mantissa) * 0x1.0p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  // Normal numbers: 112 is the difference of the exponents' biases, 127 − 15.
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

// Rounds to nearest, ties to even.
Half HalfFromFloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);

  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};  // NaN
  if (magnitude >= 0x477ff000u)
    return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds to >= 65520
  if (magnitude < 0x38800000u) {  // below 2^-14: a multiple of 2^-24, rounded by the addition
    float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }

  uint32_t odd = (magnitude >> 13) & 1u;
  magnitude += 0xfffu + odd;  // nearest, ties to even
  return {static_cast<uint16_t>(sign | ((magnitude - 0x38000000u) >> 13))};
}

// Adds half a unit of the last place that stays, and cuts; on a tie the odd bit decides.
BFloat16 BFloat16FromFloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};  // keep it a NaN
  }
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

float RoundTo(float value, DType type) {
  if (type == DType::kF16) return ToFloat(HalfFromFloat(value));
  if (type == DType::kBF16) return ToFloat(BFloat16FromFloat(value));
  return value;
}

// One loop per source type; `each` reads elements without assuming that they are aligned.
void ConvertToFloat(DType type, const void* from, float* to, size_t count) {
  QUALM_CHECK(IsFloat(type));
  const auto* bytes = static_cast<const unsigned char*>(from);
  auto each = [&]<typename T>(T, auto convert) {
    for (size_t i = 0; i < count; ++i) {
      T element;  // the source may be unaligned: a mapped file
      std::memcpy(&element, bytes + i * sizeof(T), sizeof(T));
      to[i] = convert(element);
    }
  };

  if (type == DType::kF32) {
    std::memcpy(to, from, count * sizeof(float));
  } else if (type == DType::kF64) {
    each(double{}, [](double v) { return static_cast<float>(v); });
  } else if (type == DType::kF16) {
    each(Half{}, [](Half v) { return ToFloat(v); });
  } else {
    each(BFloat16{}, [](BFloat16 v) { return ToFloat(v); });
  }
}

// Halves and bfloat16 are rounded to nearest, ties to even.
void ConvertFromFloat(const float* from, DType type, void* to, size_t count) {
  QUALM_CHECK(IsFloat(type));
  auto* bytes = static_cast<unsigned char*>(to);
  auto each = [&](auto convert) {
    for (size_t i = 0; i < count; ++i) {
      auto element = convert(from[i]);
      std::memcpy(bytes + i * sizeof(element), &element, sizeof(element));
    }
  };

  if (type == DType::kF32) {
    std::memcpy(to, from, count * sizeof(float));
  } else if (type == DType::kF64) {
    each([](float v) { return static_cast<double>(v); });
  } else if (type == DType::kF16) {
    each(HalfFromFloat);
  } else {
    each(BFloat16FromFloat);
  }
}

}  // namespace qualm
