// Unpacking of low-bit panels into floats, per instruction set. Layout: docs/formats/packed.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace qualm {

inline constexpr size_t kChunk =
    32;  // codes of one row that fill whole words for any number of bits

enum class StoredZero : uint8_t { kImplied, kByte, kFloat };

// What all panels of a weight have in common.
struct PackedForm {
  int bits = 4;
  DType scale_type = DType::kF16;  // of scales and of float zero points
  StoredZero stored_zero = StoredZero::kByte;
  float implied_zero = 8;  // if kImplied
  size_t group_size = 0;   // inputs
  // scale·(code - zero) may be computed as fma(code, scale, -zero·scale): zero·scale is exact.
  bool fused = false;

  // Bytes of one scale and of one zero point; the constants of a group are 16 scales, then 16 zero
  // points. (Kept here because the kernels must not call a function in between.)
  size_t scale_bytes = 2;
  size_t zero_bytes = 1;

  size_t ConstantBytes() const { return 16 * (scale_bytes + zero_bytes); }
};

// Writes the float weights (k, lane) of one panel to to[(k - k_begin)·16 + lane] for k in
// [k_begin, k_begin + depth): float32(scale·(code - zero)), each operation rounded once. k_begin is
// a multiple of kChunk; `codes` is the panel's first chunk, `constants` those of its first group.
using UnpackFunction = void (*)(const PackedForm& form, const uint32_t* codes,
                                const uint8_t* constants, size_t k_begin, size_t depth, float* to);

// Of the instruction set in use, for 1 to 8 bits.
UnpackFunction UnpackFunctionInUse(int bits);
// In plain C++, for any number of bits.
void UnpackScalar(const PackedForm& form, const uint32_t* codes, const uint8_t* constants,
                  size_t k_begin, size_t depth, float* to);

}  // namespace qualm
