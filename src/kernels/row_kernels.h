// The product of one token with low-bit panels, per instruction set. Layout:
// docs/formats/packed.md.
#pragma once

#include "kernels/unpack_kernels.h"

namespace qualm {

// Neighbouring panels and what they are multiplied with.
struct RowProduct {
  const PackedForm* form = nullptr;  // fused; groups are whole chunks, or there is one
  const uint32_t* codes = nullptr;
  size_t codes_stride = 0;  // words from panel to panel
  const uint8_t* constants = nullptr;
  size_t constants_stride = 0;  // bytes from panel to panel
  size_t panel_count = 0;
  size_t in_features = 0;
  const float* x = nullptr;  // [in_features]
  float* y = nullptr;        // [columns], at most 16 for every panel
  size_t columns = 0;
};

// y = x·Wᵀ with the sum of linear.h. Null if the instruction set in use has no such kernel.
using RowFunction = void (*)(const RowProduct& product);
RowFunction RowFunctionInUse(int bits);

// Panels that the kernels handle together; a task should be a multiple of them.
inline constexpr size_t kPanelsOfRow = 8;

}  // namespace qualm
