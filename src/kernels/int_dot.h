// Integer dot products of many tokens with a block of output rows: the inner loop of integer
// weights (integer_weight.cc), one function per instruction set.
//
// Sums are exact, so all functions give the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/lane_layout.h"

namespace qualm {

inline constexpr size_t kDotPanels = 4;       // panels of a block
inline constexpr size_t kDotStep = 4;         // inputs of one lane that one instruction multiplies
inline constexpr size_t kDotMostTokens = 64;  // per call

// sums[t][p·16 + row] += Σ_k x[t][k]·w[p][k][row] for t < tokens, p < 4, over `steps`·4 inputs.
// x: signed, token t at x + t·x_stride. panels: unsigned, panel p at panels + p·panel_stride, laid
// out [step][16 rows][4 inputs]. sums [tokens][64].
using IntDotFunction = void (*)(const int8_t* x, size_t x_stride, size_t tokens,
                                const uint8_t* panels, size_t panel_stride, size_t steps,
                                int32_t* sums);

struct IntDot {
  IntDotFunction function;
  const char* name;      // "amx", "vnni", "portable"
  size_t least_tokens;   // below that, another function is faster
  size_t step_multiple;  // `steps` must be a multiple of it
};

// The fastest function for this many tokens and chunks of `steps` steps.
IntDot IntDotInUse(size_t tokens, size_t steps);

// In plain C++: the definition.
void IntDotPortable(const int8_t* x, size_t x_stride, size_t tokens, const uint8_t* panels,
                    size_t panel_stride, size_t steps, int32_t* sums);

// Expands two codes in a byte to one code in a byte: bytes [count] to [2·count]. The low halves of
// a step of 64 bytes are step 2i of the result, the high halves are step 2i + 1.
void UnpackHalves(const uint8_t* bytes, size_t count, uint8_t* to);

}  // namespace qualm
