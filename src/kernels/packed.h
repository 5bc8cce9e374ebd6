// Quantized linear layers that run from their low-bit codes: the weight stays packed in memory and
// is unpacked inside the product. Layout: docs/formats/packed.md.
#pragma once

#include <memory>

#include "tensor/linear.h"

namespace qualm {

struct Context;
struct PackedLinear;
struct QuantizedLinear;

// The weight of `layer`, ready to multiply; its product has the bits of the dense float32 product
// with layer.Dequantize(). format() is like "packed-int4-g128", followed by what the fastest
// kernels cannot handle: "packed-int3-g16+outliers". Layers whose groups have different numbers of
// bits, but are not whole chunks, are kept dequantized, and format() says so: "dequantized-f32".
// Requires: `layer` is valid (QuantizedLinear::Validate); it is not needed afterwards.
std::unique_ptr<LinearWeight> MakePackedWeight(const QuantizedLinear& layer,
                                               const Context& context);
// The same from packed codes. A panel holds the rows' bit strings word by word, so they are only
// moved; products of integer inputs unpack the codes first.
std::unique_ptr<LinearWeight> MakePackedWeight(const PackedLinear& packed, const Context& context);

}  // namespace qualm
