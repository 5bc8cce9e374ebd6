// The frequencies of rotary position embeddings (Su et al. 2021) under the scalings that stretch a
// model's context: linear, and the one of LLaMA 3.1.
#include "model/rotary.h"

#include <algorithm>
#include <cmath>

namespace qualm {

std::vector<double> RopeInverseFrequencies(const RotaryPlan& plan) {
  const RopeScaling& scaling = plan.scaling;
  std::vector<double> result(plan.dims / 2);
  for (size_t i = 0; i < result.size(); ++i) {
    // Pair i turns by theta^(-2i/dims) per position.
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(plan.dims);
    double frequency = std::pow(plan.theta, -exponent);

    if (scaling.kind == RopeScaling::Kind::kLinear) {
      frequency /= scaling.factor;
    } else if (scaling.kind == RopeScaling::Kind::kLlama3) {
      // Long waves are stretched by the factor, short ones are kept, and those in between are
      // interpolated.
      const double turns = scaling.original_context * frequency / (2 * M_PI);
      double smooth =
          (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
      smooth = std::min(1.0, std::max(0.0, smooth));
      frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
    }
    result[i] = frequency;
  }
  return result;
}

}  // namespace qualm
