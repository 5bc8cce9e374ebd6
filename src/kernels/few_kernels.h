// The product of a few tokens with low-bit panels, per instruction set: codes become weights in
// registers and are used at once, for all tokens. Layout: docs/formats/packed.md.
#pragma once

#include "kernels/unpack_kernels.h"

namespace qualm {

// Neighbouring panels and what they are multiplied with.
struct FewProduct {
  const PackedForm* form = nullptr;  // fused; groups are whole chunks, or there is one
  const uint32_t* codes = nullptr;
  size_t codes_stride = 0;  // words from panel to panel
  const uint8_t* constants = nullptr;
  size_t constants_stride = 0;  // bytes from panel to panel
  size_t panel_count = 0;
  size_t in_features = 0;
  size_t rows = 1;           // tokens, at most kMostFewRows
  const float* x = nullptr;  // [in_features][rows]
  float* y = nullptr;        // row r at y + r·y_stride
  size_t y_stride = 0;
  size_t columns = 0;  // that exist in y, at most 16 for every panel
};

// y = x·Wᵀ with the sum of linear.h. Null if the instruction set in use has no such kernel, or
// where unpacking into the cache first is as fast: see MostFewRowsInUse.
using FewFunction = void (*)(const FewProduct& product);
FewFunction FewFunctionInUse(int bits);
// Tokens up to which the kernels are worth it; 0 if there are none.
size_t MostFewRowsInUse();

// Panels that the kernels handle together at most; a task should be a multiple of them.
inline constexpr size_t kPanelsOfFew = 8;

}  // namespace qualm
