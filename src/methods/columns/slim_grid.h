// Grids of groups with different numbers of bits, down to one bit.
#pragma once

#include <array>
#include <optional>

#include "artefact/grid.h"

namespace qualm {

// Grids of `bits` − 1, `bits` and `bits` + 1. One bit has no grid over a range: its two values are
// mean ± mean|w − mean|, that is scale 2a and zero point 1/2 − mean/(2a), which need float zero
// points.
class MixedGrids {
 public:
  explicit MixedGrids(const Scheme& scheme) : bits_(scheme.bits), scheme_(scheme) {
    for (int b = bits_ - 1; b <= bits_ + 1; ++b) {
      if (b >= 1 && b <= 8) grids_[static_cast<size_t>(b - bits_ + 1)].emplace(scheme, b);
    }
  }
  const Grid& Of(int bits) const { return *grids_[static_cast<size_t>(bits - bits_ + 1)]; }
  // Fits a group by its range; with one bit, by its mean and the mean distance from it.
  void Fit(int bits, const float* values, size_t count, GridLanes& lanes) const;

 private:
  int bits_;
  Scheme scheme_;
  std::array<std::optional<Grid>, 3> grids_;
};

}  // namespace qualm
