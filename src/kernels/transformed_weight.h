// Online transforms of a layer: operations on its input and output that could not be folded into
// other layers. What each one does: docs/formats/artefact.md.
#pragma once

#include <memory>
#include <span>

#include "artefact/quantized_linear.h"
#include "tensor/linear.h"
#include "tensor/rotation.h"

namespace qualm {

struct Context;

// The rotation of a kHadamard or kKronecker transform of n inputs or outputs.
std::unique_ptr<Rotation> RotationOf(const OnlineTransform& transform, size_t n);

// The input-side transforms in their order on a copy of x [tokens, in].
Matrix TransformInputs(std::span<const OnlineTransform> transforms, Span2D<const float> x,
                       const Context& context);
// The output-side transforms in their order on y [tokens, out].
void TransformOutputs(std::span<const OnlineTransform> transforms, Span2D<float> y,
                      const Context& context);

// `inner` between the transforms; `inner` itself if there are none. format() also names the
// transforms: "packed-int4-g128+hadamard".
std::unique_ptr<LinearWeight> WithTransforms(std::unique_ptr<LinearWeight> inner,
                                             std::span<const OnlineTransform> transforms);

// The matrix that the layer multiplies its untransformed input with: Dequantize() with input-side
// scales and rotations and output-side rotations undone, in float. Shifts are left out: those of a
// pair (input, output) cancel up to the rounding of W. [out, in]
Matrix EffectiveWeight(const QuantizedLinear& layer, const Context& context);

// Every `side` neighbouring values of the row become x·M/√side, M [side, side] row-major; products
// are added up in float32 over rising places. Requires: side divides the row.
void MultiplyBlocks(std::span<float> row, std::span<const float> matrix, size_t side);

}  // namespace qualm
