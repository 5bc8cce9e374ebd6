// Unpacking of low-bit panels into floats, one function per instruction set. Layout:
// docs/formats/packed.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "artefact/quantized_linear.h"
#include "tensor/dtype.h"
#include "tensor/lane_layout.h"

namespace qualm {

// How the 16 scales or the 16 zero points of a record are stored.
enum class ConstantCoding : uint8_t {
  kImplied,      // nothing is stored: PackedForm::implied_zero
  kByte,         // one whole number per lane
  kF16,          // one number of that type per lane
  kBF16,         // one number of that type per lane
  kF32,          // one number of that type per lane
  kPowerOfTwo,   // 2^(byte - 127) for each lane
  kE4m3,         // an fp8_e4m3 number for each lane, times (or by) PackedForm::tensor_scale
  kSecondLevel,  // f32 scale and f32 zero of all lanes, then a byte for each: scale·(byte - zero)
};

constexpr size_t BytesOf(ConstantCoding coding) {  // bytes of 16 constants
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
  kWhole,      // itself
  kTable,      // PackedForm::table[code], 4 bits
  kWideTable,  // PackedForm::wide_table[code], any number of bits
  kE4m3,       // the 8-bit floats
  kE5m2,
};

// What all panels of a weight have in common.
struct PackedForm {
  int bits = 4;
  CodeValue value = CodeValue::kWhole;
  ConstantCoding scale = ConstantCoding::kF16;
  ConstantCoding zero = ConstantCoding::kByte;  // always kImplied if value is not kWhole
  bool zero_is_offset = false;                  // the weight is fma(code, scale, zero)
  float implied_zero = 8;                       // for kImplied; 0 if value is not kWhole
  float tensor_scale = 1;
  bool tensor_scale_divides = false;
  ValueForm value_form;   // what happens to the weight after scale and zero point
  size_t group_size = 0;  // inputs
  // The weight may be computed as fma(code, scale, -zero·scale) because zero·scale is exact, or,
  // with an offset, by a code that was left at a higher place with a smaller scale.
  bool fused = false;
  // The group of every input, [in]; null if groups follow one another.
  const uint32_t* group_of_column = nullptr;
  const float* wide_table = nullptr;  // [2^bits]
  alignas(64) std::array<float, 16> table{};

  // The constants of a group are 16 scales, then 16 zero points. (These are numbers and not calls
  // of BytesOf, because the kernels must not call a function in between.)
  size_t scale_record = 32;
  size_t zero_record = 16;

  size_t ConstantBytes() const { return scale_record + zero_record; }
};

// Writes the float weights (k, lane) of one panel to to[(k - k_begin)·16 + lane] for k in
// [k_begin, k_begin + depth) as QuantizedLinear::Dequantize defines them; only the sign of a zero
// may differ. k_begin is a multiple of kChunkInputs; `codes` is the panel's first chunk,
// `constants` those of its first group.
using UnpackFunction = void (*)(const PackedForm& form, const uint32_t* codes,
                                const uint8_t* constants, size_t k_begin, size_t depth, float* to);

// The function of the instruction set in use, for 1 to 8 bits.
UnpackFunction UnpackFunctionInUse(int bits, CodeValue value);
// The same in plain C++, for any number of bits.
void UnpackScalar(const PackedForm& form, const uint32_t* codes, const uint8_t* constants,
                  size_t k_begin, size_t depth, float* to);

}  // namespace qualm
