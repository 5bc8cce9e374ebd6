// The matrix kernels in plain C++. A portable build has no other kernels, and the vector kernels
// are tested against these on any machine.
#include <algorithm>
#include <cmath>

#include "tensor/dtype.h"
#include "tensor/panel_kernels.h"

namespace qualm {
namespace {

constexpr size_t kMostRows = 4;  // rows in a group

size_t OnePanel(size_t) { return 1; }

// One group of rows times one panel; the same steps as Group::Multiply in panel_kernels.cc.
template <typename T>
void MultiplyGroup(const PanelProduct<T>& p, size_t group, size_t panel) {
  constexpr size_t kLanes = kLanesOf<T>;
  const size_t rows = p.row_groups.Size(group), first_row = p.row_groups.First(group);
  const T* x = p.x + first_row * p.block_depth + p.k_begin * rows;
  const T* w = p.panels + panel * p.panel_stride;
  T sums[kMostRows][kLanes] = {};

  // Start from zero, or continue the chain of an earlier part of the block.
  const size_t partial_stride = p.panel_count * kLanes;
  const size_t partial = first_row * partial_stride + panel * kLanes;
  if (p.k_begin > 0) {
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(p.partial + partial + r * partial_stride, kLanes, sums[r]);
    }
  }

  for (size_t k = 0; k < p.depth; ++k) {
    for (size_t r = 0; r < rows; ++r) {
      const T factor = x[k * rows + r];
      for (size_t lane = 0; lane < kLanes; ++lane) {
        sums[r][lane] = std::fma(w[k * kLanes + lane], factor, sums[r][lane]);
      }
    }
  }

  // The block is not complete: keep the sums for the next part.
  if (p.k_begin + p.depth < p.block_depth) {
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(sums[r], kLanes, p.partial + partial + r * partial_stride);
    }
    return;
  }

  const size_t columns = std::min(kLanes, p.columns - panel * kLanes);
  for (size_t r = 0; r < rows; ++r) {
    T* y = p.y + (first_row + r) * p.y_stride + panel * kLanes;
    for (size_t c = 0; c < columns; ++c) y[c] = p.overwrite ? sums[r][c] : y[c] + sums[r][c];
  }
}

// Every panel with every group.
template <typename T>
void Multiply(const PanelProduct<T>& p) {
  for (size_t panel = 0; panel < p.panel_count; ++panel) {
    for (size_t group = p.group_begin; group < p.group_end; ++group) MultiplyGroup(p, group, panel);
  }
}

void ConvertHalf(const uint16_t* from, float* to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] = ToFloat(Half{from[i]});
}

void ConvertBFloat16(const uint16_t* from, float* to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i] = ToFloat(BFloat16{from[i]});
}

}  // namespace

template <typename T>
const PanelKernels<T>& ScalarPanelKernels() {
  static constexpr PanelKernels<T> kKernels = {kMostRows, OnePanel, Multiply<T>};
  return kKernels;
}
template const PanelKernels<float>& ScalarPanelKernels();
template const PanelKernels<double>& ScalarPanelKernels();

const ConvertKernels& ScalarConvertKernels() {
  static constexpr ConvertKernels kConverters = {ConvertHalf, ConvertBFloat16};
  return kConverters;
}

}  // namespace qualm
