// How fast rotary pairs turn, written down a second time from the papers and the published code.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/rotary.h"

namespace qualm::testing {

// Waves longer than the original context are stretched, those that fit in high_freq_factor times
// are kept.
inline double ReferenceLlama3(double frequency, const RopeScaling& scaling) {
  const double wave = 2 * M_PI / frequency;
  if (wave > scaling.original_context / scaling.low_freq_factor) return frequency / scaling.factor;
  if (wave < scaling.original_context / scaling.high_freq_factor) return frequency;
  const double kept = (scaling.original_context / wave - scaling.low_freq_factor) /
                      (scaling.high_freq_factor - scaling.low_freq_factor);
  return frequency * (kept + (1 - kept) / scaling.factor);
}

// Angle per position of each pair in a sequence of so many positions.
inline std::vector<double> ReferenceFrequencies(const RotaryPlan& plan, size_t positions) {
  const RopeScaling& scaling = plan.scaling;
  const double dims = static_cast<double>(plan.dims), length = static_cast<double>(positions);
  std::vector<double> frequencies;
  for (size_t pair = 0; pair < plan.dims / 2; ++pair) {
    const double exponent = 2 * static_cast<double>(pair) / dims;
    const double frequency = 1 / std::pow(plan.theta, exponent);
    const bool is_long = length > scaling.original_context;
    double turned = frequency;
    if (scaling.kind == RopeScaling::Kind::kLinear) {
      turned = frequency / scaling.factor;
    } else if (scaling.kind == RopeScaling::Kind::kDynamic && is_long) {
      const double growth =
          1 + scaling.factor * (length - scaling.original_context) / scaling.original_context;
      turned = 1 / std::pow(plan.theta * std::pow(growth, dims / (dims - 2)), exponent);
    } else if (scaling.kind == RopeScaling::Kind::kLlama3) {
      turned = ReferenceLlama3(frequency, scaling);
    } else if (scaling.kind == RopeScaling::Kind::kYarn) {
      const double width = scaling.ramp_last - scaling.ramp_first;
      const double along =
          (static_cast<double>(pair) - scaling.ramp_first) / (width == 0 ? 0.001 : width);
      const double stretched = std::min(1.0, std::max(0.0, along));
      turned = frequency * (1 - stretched) + frequency * stretched / scaling.factor;
    } else if (scaling.kind == RopeScaling::Kind::kLongRope) {
      turned = frequency / (is_long ? scaling.long_factors : scaling.short_factors)[pair];
    }
    frequencies.push_back(turned);
  }
  return frequencies;
}

}  // namespace qualm::testing
