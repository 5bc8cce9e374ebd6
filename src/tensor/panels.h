// y = x·Wᵀ for a W that is stored in panels of 16 output rows (panel_kernels.h), in any form.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/lane_layout.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

inline size_t PanelCount(size_t out_features) {
  return (out_features + kPanelLanes - 1) / kPanelLanes;
}

// A weight in panels. Lanes of the last panel beyond the last output row may hold anything.
class PanelSource {
 public:
  virtual ~PanelSource() = default;
  // The panels if they are stored as floats, panel p at p·in_features·16; otherwise null.
  virtual const float* FloatPanels() const { return nullptr; }
  // Writes [depth][16] floats of `panel` from k_begin on. k_begin is a multiple of 32.
  virtual void Unpack(size_t panel, size_t k_begin, size_t depth, float* to) const = 0;
  // Describes a kernel that multiplies without unpacking panels first.
  struct DirectForm {
    size_t most_rows = 0;  // tokens that it takes at once; 0 if there is no such kernel
    size_t panels = 1;     // how many neighbouring panels it works on best
  };
  virtual DirectForm Direct() const { return {}; }
  // The product of y.rows() tokens, x [in][tokens], with some neighbouring panels, y [tokens,
  // columns].
  virtual void MultiplyDirectly(size_t first_panel, size_t panel_count, const float* x,
                                Span2D<float> y) const;
};

// x [tokens, in], y [tokens, out]; the sum is defined in linear.h. With few tokens, each panel is
// unpacked piece by piece into the innermost cache and used at once, so that the weight is read
// once and nothing but y is written. With many tokens, panels are unpacked once for hundreds of
// them.
void MultiplyPanels(const PanelSource& source, Span2D<const float> x, Span2D<float> y,
                    const Context& context);

}  // namespace qualm
