// y = x·Wᵀ for a W that is kept in panels of 16 output rows (panel_kernels.h), in whatever form.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/matrix.h"

namespace qualm {

class ThreadPool;

inline constexpr size_t kPanelRows = 16;
inline size_t PanelCount(size_t out_features) {
  return (out_features + kPanelRows - 1) / kPanelRows;
}

// A weight in panels. Lanes of the last panel beyond the last output row hold anything.
class PanelSource {
 public:
  virtual ~PanelSource() = default;
  // The panels if they are kept as floats, panel p at p·in_features·16; else null.
  virtual const float* FloatPanels() const { return nullptr; }
  // Writes [depth][16] floats of `panel` from k_begin on. k_begin is a multiple of 32.
  virtual void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const = 0;
  // Panels that MultiplyRow likes to get together; 0 if it cannot be called.
  virtual size_t PanelsOfRow() const { return 0; }
  // The product of one token x [in] with some neighbouring panels, y [columns], by a kernel that
  // does not unpack them first.
  virtual void MultiplyRow(size_t first_panel, size_t panel_count, const float* x,
                           std::span<float> y) const;
};

// x [tokens, in], y [tokens, out]; the sum is the one of linear.h. Few tokens: every panel is
// unpacked piece by piece into the innermost cache and used at once, so that the weight is read
// once and nothing but y is written. Many tokens: panels are unpacked once for hundreds of them.
void MultiplyPanels(const PanelSource& source, Span2D<const float> x, Span2D<float> y,
                    ThreadPool& pool);

}  // namespace qualm
