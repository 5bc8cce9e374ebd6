// Blocks of ggml whose codes lie on a grid, as codes, scales and offsets. The values are those of
// ggml's dequantize_row_* in every bit; what has no grid (IQ1, IQ2, IQ3) stays in blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "artefact/quantized_linear.h"

namespace qualm {

// Whether blocks of the type (ggml's number) have a grid.
bool HasGgmlGrid(uint32_t type);

// The layer [out, in] of rows of blocks; row r of the layer is row `row_of(r)` of the bytes.
// Requires: HasGgmlGrid(type), `in` is a multiple of the block, and the bytes hold all rows.
QuantizedLinear GridOfGgml(uint32_t type, std::span<const std::byte> bytes, size_t out, size_t in,
                           const std::function<size_t(size_t)>& row_of);

}  // namespace qualm
