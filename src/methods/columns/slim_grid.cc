// Fits groups on grids of different bits; only one bit needs a rule that differs from the grid's.
#include "methods/columns/slim_grid.h"

#include <cmath>

namespace qualm {
namespace {

// The two values mean ± mean|w − mean| of each lane (slim_grid.h).
void FitSign(const Grid& grid, const float* values, size_t count, GridLanes& lanes) {
  for (size_t l = 0; l < kPanelLanes; ++l) {
    double sum = 0, distance = 0;
    for (size_t i = 0; i < count; ++i) sum += values[i * kPanelLanes + l];
    const double mean = sum / static_cast<double>(count);
    for (size_t i = 0; i < count; ++i) distance += std::abs(values[i * kPanelLanes + l] - mean);
    const double a = distance / static_cast<double>(count);
    // The grid over [mean − a, mean + a] has these two values as its codes 0 and 1, and it rounds
    // its scale and zero point to the types that are stored.
    const GridPoint point = grid.Fit(static_cast<float>(mean - a), static_cast<float>(mean + a));
    lanes.scale[l] = point.scale;
    lanes.zero[l] = point.zero;
  }
}

}  // namespace

void MixedGrids::Fit(int bits, const float* values, size_t count, GridLanes& lanes) const {
  if (bits == 1) {
    FitSign(Of(1), values, count, lanes);
  } else {
    Of(bits).FitLanes(values, count, ClipSearch::kNone, lanes);
  }
}

}  // namespace qualm
