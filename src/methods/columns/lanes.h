// Strips of kPanelLanes output rows of W, transposed: the form that rounders work on. The value of
// column c and row first + l is at c·kPanelLanes + l, so one vector operation handles all rows of a
// strip. Rows beyond the matrix are zeros and are not stored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/grid.h"
#include "artefact/quantized_linear.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

inline size_t StripCount(size_t rows) { return (rows + kPanelLanes - 1) / kPanelLanes; }

// values [in, kPanelLanes] of the strip that begins at `first_row`.
void LoadStrip(Span2D<const float> weight, size_t first_row, float* values);

// An empty artefact of this shape: codes, scales and zeros allocated, not filled.
QuantizedLinear MakeQuantizedLinear(size_t out_features, size_t in_features, const Scheme& scheme);

// Stores the codes of a strip, [in, kPanelLanes]; position p is column order[p], or p itself if
// `order` is empty.
void StoreCodes(const uint8_t* codes, size_t first_row, std::span<const uint32_t> order,
                QuantizedLinear& to);
// Stores a strip's scales and zero points of one group (kTensor: the one point, once).
void StorePoints(const GridLanes& lanes, size_t first_row, size_t group, QuantizedLinear& to);

// The one point of a kTensor scheme.
GridPoint FitTensor(Span2D<const float> weight, const Grid& grid, ClipSearch search,
                    const Context& context);
GridLanes SamePoint(GridPoint point);

// Chooses scale and zero point of one group of a strip, values [count, kPanelLanes]; may run in
// several threads at once.
using GroupFit = std::function<void(const float* values, size_t count, GridLanes& lanes)>;
// Fits every group of every row and takes the nearest code for every weight.
void RoundByGroup(Span2D<const float> weight, const Grid& grid, const GroupFit& fit,
                  QuantizedLinear& layer, const Context& context);

// A remark if scales had to be lowered to the largest number of their type, so that weights beyond
// are clipped. Empty otherwise.
std::string ScaleLimitNote(const QuantizedLinear& layer);

// Throws bad input naming the first NaN or infinite weight.
void RequireFinite(Span2D<const float> weight);
// Throws bad input if the scheme cannot be used for weights of this layer.
void RequireStaticScheme(const Scheme& scheme, size_t in_features, bool takes_second_level = false);

// The grid of a layer's weights; nvfp4's tensor scale is taken from all of them and noted in
// `layer`.
Grid MakeGrid(Span2D<const float> weight, const Scheme& scheme, QuantizedLinear& layer);

}  // namespace qualm
