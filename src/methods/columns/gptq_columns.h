// The column loop of GPTQ (Frantar et al. 2023, algorithm 1): columns in order, each rounded to the
// grid, its error fed forward into the columns that follow.
//
// With U the factor of H⁻¹ (hessian.h), for column j: e = (w_j - ŵ_j)/U_jj, then w_k -= e·U_jk for
// all k > j. Errors reach the columns of the same block at once and all later ones when the block
// is done, exactly once. Every weight is one chain of fused multiply-adds over rising j either way,
// so the block size does not change a bit of the result (unless reference_group_scales is asked
// for).
//
// A block is here a run of columns between two lazy updates, not a block of the model.
#pragma once

#include <optional>

#include "artefact/grid.h"
#include "artefact/quantized_linear.h"
#include "methods/columns/hessian.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

// What a method does differently inside the loop. Strips of kPanelLanes rows run in several threads
// at once; the calls for one strip come in order.
class ColumnHooks {
 public:
  virtual ~ColumnHooks() = default;
  // The grid of a group.
  virtual const Grid* GridOf(size_t group) const = 0;
  // Chooses scale and zero point of a group from its values [count, kPanelLanes]. With static
  // groups and with one group per channel they are columns of W from `position` on, before any
  // update; else they are the columns from `position` on in the loop's order, with all earlier
  // errors applied.
  virtual void Fit(size_t first_row, size_t group, size_t position, const float* values,
                   size_t count, GridLanes& lanes) = 0;
  // Sees the lanes of one column before they are stored: the values and their rounded values. It
  // may replace rounded values by others that the layer holds exactly.
  virtual void Keep(size_t first_row, size_t position, const float* values, float* rounded) = 0;
};

struct ColumnLoopOptions {
  size_t block = 128;  // columns per lazy update
  // Scales of all groups from W before any update; else a group's scales come from its columns at
  // the moment its first column is reached, all earlier errors applied.
  bool static_groups = false;
  // As the reference program reads a group: its columns as they were when the block began.
  bool reference_group_scales = false;
  ClipSearch search = ClipSearch::kNone;
  std::optional<GridPoint> tensor_point;  // of kTensor schemes, instead of the range's
  ColumnHooks* hooks = nullptr;
};

// weight [out, in], finite. Without static groups, groups are formed in the order of the factor
// (QuantizedLinear::g_idx). Scales per channel or tensor come from W as it is; dead columns are set
// to 0 after that and before static groups are fitted.
// Requires: factor.upper is not empty.
QuantizedLinear QuantizeColumns(Span2D<const float> weight, const Scheme& scheme,
                                const HessianFactor& factor, const ColumnLoopOptions& options,
                                const Context& context);

}  // namespace qualm
