// Weights in blocks that only their format's decoder can read: they stay in memory as the file has
// them, and are decoded piece by piece inside the product.
#pragma once

#include <memory>

#include "tensor/linear.h"

namespace qualm {

struct RowBlocks;

// The weight of `blocks`, ready to multiply; its product has the bits of the dense float32 product
// with blocks.Dequantize(). format() is like "blocks-iq2_xs". It shares the decoder.
std::unique_ptr<LinearWeight> MakeBlockWeight(const RowBlocks& blocks);

}  // namespace qualm
