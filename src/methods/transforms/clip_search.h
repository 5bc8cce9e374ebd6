// The clip search of AWQ (Lin et al. 2024; llm-awq's auto_clip): for each output row and group of
// inputs, how far the group's range is shrunk before it is rounded to nearest.
#pragma once

#include "artefact/scheme.h"
#include "methods/transforms.h"

namespace qualm {

struct Context;

struct ClipOptions {
  // Shrinks minimum and maximum by the same factor; else both bounds are the largest magnitude.
  bool is_asymmetric = false;
  // |error of the group's output| on the first sampled row alone, as MI-optimize does it; else the
  // sum of squares over up to 512 rows, evenly spaced.
  bool first_token = false;
};

// Factors 1 − i/20, i < 10; the first one of the smallest error. weight [out, in], sample [rows,
// in] with rows > 0. Granularity channel or group.
WeightClip SearchClip(Span2D<const float> weight, const Scheme& scheme, Span2D<const float> sample,
                      const ClipOptions& options, const Context& context);

}  // namespace qualm
