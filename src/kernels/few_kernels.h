// The product of a few tokens with low-bit panels, one kernel per instruction set: codes become
// weights in registers and are used at once, for all tokens. Layout: docs/formats/packed.md.
#pragma once

#include "kernels/unpack_kernels.h"

namespace qualm {

// Some neighbouring panels, and the tokens that they are multiplied with.
struct FewProduct {
  const PackedForm* form = nullptr;
  const uint32_t* codes = nullptr;
  size_t codes_stride = 0;  // words from panel to panel
  const uint8_t* constants = nullptr;
  size_t constants_stride = 0;  // bytes from panel to panel
  size_t panel_count = 0;
  size_t in_features = 0;
  size_t rows = 1;           // tokens, at most FewKernel::most_rows
  const float* x = nullptr;  // [in_features][rows]
  float* y = nullptr;        // row r at y + r·y_stride
  size_t y_stride = 0;
  size_t columns = 0;  // columns that exist in y, at most 16 for each panel
};

// y = x·Wᵀ with the sum of linear.h. Requires: groups are whole chunks (for table codes: whole
// halves of chunks), or there is one group.
using FewFunction = void (*)(const FewProduct& product);

// A kernel and its limit; empty if there is none.
struct FewKernel {
  FewFunction function = nullptr;
  size_t most_rows = 0;  // tokens that it takes at once
};
// The kernel of the instruction set in use; empty if it has none for such weights.
FewKernel FewKernelInUse(const PackedForm& form);

namespace internal {
// The parts of FewKernelInUse for forms that are not fused, and for weights that are rounded.
FewKernel FewFormatKernel(const PackedForm& form);
FewKernel FewRoundingKernel(const PackedForm& form);
}  // namespace internal

// Panels of one task: a multiple of what the kernels take side by side (4, or fewer with more
// tokens).
inline constexpr size_t kPanelsOfFew = 8;

}  // namespace qualm
