// Unpacking of low-bit panels into floats, per instruction set. Layout: docs/formats/packed.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace qualm {

inline constexpr size_t kChunk =
    32;  // codes of one row that fill whole words for any number of bits

// How the 16 scales or the 16 zero points of a record are kept.
enum class ConstantCoding : uint8_t {
  kImplied,      // nothing is stored
  kByte,         // a whole number each
  kF16,          // a number of that type each
  kBF16,         // likewise
  kF32,          // likewise
  kPowerOfTwo,   // 2^(byte - 127) each
  kE4m3,         // an fp8_e4m3 number each, times PackedForm::tensor_scale
  kSecondLevel,  // f32 scale and f32 zero of all 16, then a byte each: scale·(byte - zero)
};

constexpr size_t BytesOf(ConstantCoding coding) {  // of a record's 16
  switch (coding) {
    case ConstantCoding::kImplied:
      return 0;
    case ConstantCoding::kByte:
    case ConstantCoding::kPowerOfTwo:
    case ConstantCoding::kE4m3:
      return 16;
    case ConstantCoding::kF16:
    case ConstantCoding::kBF16:
      return 32;
    case ConstantCoding::kF32:
      return 64;
    case ConstantCoding::kSecondLevel:
      return 24;
  }
  return 0;
}

// What number a code is, before scale and zero point.
enum class CodeValue : uint8_t {
  kWhole,  // itself
  kTable,  // PackedForm::table[code], 4 bits
  kE4m3,   // the 8-bit floats
  kE5m2,
};

// What all panels of a weight have in common.
struct PackedForm {
  int bits = 4;
  CodeValue value = CodeValue::kWhole;
  ConstantCoding scale = ConstantCoding::kF16;
  ConstantCoding zero = ConstantCoding::kByte;  // kImplied for values other than kWhole
  float implied_zero = 8;                       // if kImplied; 0 for values other than kWhole
  float tensor_scale = 1;
  size_t group_size = 0;  // inputs
  // scale·(code - zero) may be computed as fma(code, scale, -zero·scale): zero·scale is exact.
  bool fused = false;
  // The group of every input, [in]; null: they follow one another.
  const uint32_t* group_of_column = nullptr;
  alignas(64) std::array<float, 16> table{};

  // The constants of a group are 16 scales, then 16 zero points. (Kept as numbers because the
  // kernels must not call a function in between.)
  size_t scale_record = 32;
  size_t zero_record = 16;

  size_t ConstantBytes() const { return scale_record + zero_record; }
};

// Writes the float weights (k, lane) of one panel to to[(k - k_begin)·16 + lane] for k in
// [k_begin, k_begin + depth): float32(scale·(value(code) - zero)), each operation rounded once.
// k_begin is a multiple of kChunk; `codes` is the panel's first chunk, `constants` those of its
// first group.
using UnpackFunction = void (*)(const PackedForm& form, const uint32_t* codes,
                                const uint8_t* constants, size_t k_begin, size_t depth, float* to);

// Of the instruction set in use, for 1 to 8 bits.
UnpackFunction UnpackFunctionInUse(int bits, CodeValue value);
// In plain C++, for any number of bits.
void UnpackScalar(const PackedForm& form, const uint32_t* codes, const uint8_t* constants,
                  size_t k_begin, size_t depth, float* to);

}  // namespace qualm
