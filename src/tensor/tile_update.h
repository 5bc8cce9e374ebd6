// C -= Aᵀ·B on packed operands: the inner loops of the Cholesky factorisation and of GPTQ.
//
// Every element of C is one chain of fused multiply-adds over the depth in rising order, starting
// from the element itself. So the bits are the same however the depth is cut into calls and
// whatever the instruction set is.
//
// A strip is kStripColumns columns of A: [depth, kStripColumns]. A panel is 64 bytes of columns of
// B: [depth, kLanesOf<T>]. Both row-major.
#pragma once

#include <cstddef>

#include "tensor/lane_layout.h"

namespace qualm {

inline constexpr size_t kStripColumns = 6;

// Where tiles of C lie: element (row, column l of panel p) is at row·row_step + p·panel_step + l.
struct TileLayout {
  size_t row_step, panel_step;
};

// C -= stripᵀ·[panel_0 panel_1 ...]: kStripColumns rows, panel_count·kLanesOf<T> columns.
// Panel p starts at panels + p·panels_step. C overlaps neither.
void SubtractProduct(const float* strip, const float* panels, size_t panels_step,
                     size_t panel_count, size_t depth, float* c, TileLayout layout);
void SubtractProduct(const double* strip, const double* panels, size_t panels_step,
                     size_t panel_count, size_t depth, double* c, TileLayout layout);

// rows[i] -= factors[i]·values, i < count: rows [count, 16], values [16].
void SubtractOuter(const float* factors, size_t count, const float* values, float* rows);

}  // namespace qualm
