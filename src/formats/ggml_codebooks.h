// Blocks of ggml's IQ1, IQ2 and IQ3: several weights share a point of a codebook, so that no grid
// of single codes has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "artefact/row_blocks.h"

namespace qualm {

// Whether blocks of the type (ggml's number) are points of codebooks.
bool HasGgmlCodebook(uint32_t type);

// Decodes rows of `in` weights; row r is row `row_of(r)` of the bytes, which must outlive it.
// Requires: HasGgmlCodebook(type), `in` is a multiple of 256, and the bytes hold whole rows.
std::shared_ptr<const RowDecoder> GgmlCodebookRows(uint32_t type, std::span<const std::byte> bytes,
                                                   size_t in, std::function<size_t(size_t)> row_of);

}  // namespace qualm
