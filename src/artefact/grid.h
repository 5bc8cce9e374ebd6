// The grid of a scheme: how a group's range becomes a scale and a zero point, and a weight a code.
//
// Ranges. Symmetric: see SymmetricConvention. Asymmetric: s = (max - min)/(2^bits - 1) and z =
// round(-min/s), with min and max as they are or moved to include 0 (range_includes_zero). A group
// includes 0 in any case if its zero point could not be stored exactly: all values have one sign
// and are so far from 0 that an integer zero point leaves [0, 2^bits - 1] or a float one loses its
// unit. A group of zeros has s = 1. Scales are rounded to their stored type first (raised to the
// smallest normal, lowered to the largest finite number), and zero points and codes are computed
// with the stored scale.
//
// Codes. Integer zero: clamp(round(w/s) + z); float zero: clamp(round(w/s + z)); to nearest even.
//
// Types other than integers (codebook.h): the scale maps the group's largest magnitude to the
// format's largest value, and the code is the one of the nearest value of w/s. There is no zero
// point.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "artefact/scheme.h"
#include "tensor/lane_layout.h"

namespace qualm {

class Codebook;

// Arrays [count, kPanelLanes] hold value i of lane l at i·kPanelLanes + l, which is a strip of W
// transposed.

// The scale and zero point of one group.
struct GridPoint {
  float scale = 1;
  float zero = 0;
};

// The scale and zero point of one group for each lane.
struct GridLanes {
  std::array<float, kPanelLanes> scale, zero;
};

// How the range of a group is chosen: as it is, or shrunk by the factor 1 - i/100, i < 80, that has
// the smallest Σ|w - ŵ|^2.4 (the first of several equal ones); GPTQ's `mse`.
enum class ClipSearch : uint8_t { kNone, kMse };
inline constexpr int kShrinkSteps = 80;
float ShrinkFactor(int step);

// The grid of one scheme: Fit or FitLanes once for each group, then QuantizeLanes for its values.
class Grid {
 public:
  // Requires: scheme.Validate() passes; bits in 1..8, those of the format if the type is not
  // kInteger. `tensor_scale` is nvfp4's: scales are an e4m3 number times it.
  Grid(const Scheme& scheme, int bits, float tensor_scale = 1);

  // Scale and zero point for values in [min, max], both finite, min <= max.
  GridPoint Fit(float min, float max) const;

  // Fits every lane to its `count` > 0 values. values [count, kPanelLanes], finite.
  void FitLanes(const float* values, size_t count, ClipSearch search, GridLanes& lanes) const;

  // Codes and the values that they mean, one value for each lane. `rounded` may be `values`; codes
  // may be null.
  void QuantizeLanes(const float* values, const GridLanes& lanes, uint8_t* codes,
                     float* rounded) const;

  // Adds each lane's Σ (|w - ŵ|·unit)^2.4 over its `count` values to errors[kPanelLanes]. `unit`
  // (per lane, > 0) keeps the powers in float's range. 2e-6 relative accuracy.
  void AddClipErrors(const float* values, size_t count, const GridLanes& lanes,
                     const std::array<float, kPanelLanes>& unit, double* errors) const;

 private:
  GridPoint FitSymmetric(float min, float max) const;
  GridPoint FitFormat(float largest) const;
  float StoredScale(float scale) const;
  // The zero point as it is stored; NaN if it cannot be.
  float StoredZero(float min, float scale) const;

  Scheme scheme_;
  const Codebook* codebook_ = nullptr;  // for types that are not kInteger
  float tensor_scale_;
  float min_code_, max_code_, middle_;
  bool fractional_zero_;
};

// Each lane's smallest and largest value. values [count, kPanelLanes], count > 0.
void RangeOfLanes(const float* values, size_t count, float* min, float* max);

}  // namespace qualm
