// The innermost loops of all matrix products, one set per instruction set.
//
// A panel is a strip of output rows interleaved by k: element (k, lane) at panel[k·lanes + lane],
// 64 bytes for one k (16 floats or 8 doubles). Vector lanes are output rows, so the sum of one
// output is a chain over rising k whatever the width of a vector is (linear.h).
//
// The rows of x go in groups: `rows` rows in `groups` groups of nearly equal size (the first
// rows % groups have one row more), one group is held in registers at a time. Inside a block of k,
// group g is stored interleaved: element (k, row) at x[first_row(g)·depth + k·rows(g) + row].
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/isa.h"
#include "tensor/lane_layout.h"

namespace qualm {

// How rows are cut into groups; see above.
struct RowGroups {
  size_t rows = 0;
  size_t groups = 0;

  size_t First(size_t group) const {
    const size_t extra = rows % groups;
    return group * (rows / groups) + (group < extra ? group : extra);
  }
  size_t Size(size_t group) const { return rows / groups + (group < rows % groups ? 1 : 0); }
};

// One piece of work: rows of some groups times some panels over a part of one block of k.
template <typename T>
struct PanelProduct {
  RowGroups row_groups;
  size_t group_begin = 0, group_end = 0;
  const T* x = nullptr;    // the block of k of all groups, packed as above
  size_t block_depth = 0;  // k in that block
  size_t k_begin = 0;      // the part of it to use: [k_begin, k_begin + depth)
  size_t depth = 0;
  const T* panels = nullptr;  // first panel at k_begin
  size_t panel_stride = 0;    // elements from one panel to the next
  size_t panel_count = 0;
  T* y = nullptr;  // row 0 of the row groups, first column of the first panel
  size_t y_stride = 0;
  size_t columns = 0;  // columns that exist in y; the last panel may have more lanes
  // Sums of an unfinished block are left in `partial` and read from there by the part that follows.
  // [rows, panel_count·lanes]; unused if the part is the whole block.
  T* partial = nullptr;
  bool overwrite = false;  // y = sum instead of y += sum (the first block)
};

// The product of one instruction set, and the sizes that fit its registers.
template <typename T>
struct PanelKernels {
  size_t most_rows;  // rows in a group
  // How many panels to pass at once for groups of `rows` rows, so that registers are filled and the
  // latency of a multiply-add is hidden; a power of 2.
  size_t (*panels_at_once)(size_t rows);
  void (*multiply)(const PanelProduct<T>& product);
};

// Conversions of 16-bit floats to float32.
struct ConvertKernels {
  void (*half)(const uint16_t* from, float* to, size_t count);
  void (*bfloat16)(const uint16_t* from, float* to, size_t count);
};

// The functions of the instruction set in use. T: float, double.
template <typename T>
const PanelKernels<T>& PanelKernelsInUse();
template <>
const PanelKernels<float>& PanelKernelsInUse();
template <>
const PanelKernels<double>& PanelKernelsInUse();
const ConvertKernels& ConvertKernelsInUse();

// The same in plain C++ (panel_kernels_scalar.cc).
template <typename T>
const PanelKernels<T>& ScalarPanelKernels();
extern template const PanelKernels<float>& ScalarPanelKernels();
extern template const PanelKernels<double>& ScalarPanelKernels();
const ConvertKernels& ScalarConvertKernels();

}  // namespace qualm
