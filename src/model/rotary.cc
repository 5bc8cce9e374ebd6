// The frequencies of rotary position embeddings (Su et al. 2021) under the scalings that stretch a
// model's context. Scalings that go by the length of a sequence are given the length that it will
// have in the end, so that a token decoded late turns as one that was there from the beginning.
#include "model/rotary.h"

#include <algorithm>
#include <cmath>

namespace qualm {
namespace {

// Long waves are stretched by the factor, short ones are kept, those in between are interpolated.
double Llama3Frequency(double frequency, const RopeScaling& scaling) {
  const double turns = scaling.original_context * frequency / (2 * M_PI);
  const double smooth = std::clamp(
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor), 0.0,
      1.0);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

// Pairs before the ramp turn as they did, pairs after it are stretched by the factor.
double YarnFrequency(double frequency, double pair, const RopeScaling& scaling) {
  // A ramp without width would divide by zero; the published code widens it by this much.
  const double last =
      scaling.ramp_first == scaling.ramp_last ? scaling.ramp_last + 0.001 : scaling.ramp_last;
  const double stretched =
      std::clamp((pair - scaling.ramp_first) / (last - scaling.ramp_first), 0.0, 1.0);
  return frequency / scaling.factor * stretched + frequency * (1 - stretched);
}

// The base that dynamic scaling gives a sequence: the original one up to the original context.
double DynamicTheta(const RotaryPlan& plan, double sequence_length) {
  const RopeScaling& scaling = plan.scaling;
  const double length = std::max(sequence_length, scaling.original_context);
  const double dims = static_cast<double>(plan.dims);
  const double growth = scaling.factor * length / scaling.original_context - (scaling.factor - 1);
  return plan.theta * std::pow(growth, dims / (dims - 2));
}

}  // namespace

YarnRamp YarnRampOf(size_t dims, double theta, double original_context, double beta_fast,
                    double beta_slow, bool truncate) {
  // The pair that turns `turns` times within the original context.
  const double count = static_cast<double>(dims);
  const auto pair_of = [&](double turns) {
    return count * std::log(original_context / (turns * 2 * M_PI)) / (2 * std::log(theta));
  };
  double first = pair_of(beta_fast), last = pair_of(beta_slow);
  if (truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  return {std::max(first, 0.0), std::min(last, count - 1)};
}

size_t RotaryRegime(const RotaryPlan& plan, size_t sequence_length) {
  const bool is_longer = static_cast<double>(sequence_length) > plan.scaling.original_context;
  if (!plan.depends_on_length() || !is_longer) return 0;
  return plan.scaling.kind == RopeScaling::Kind::kLongRope ? 1 : sequence_length;
}

std::vector<double> RopeInverseFrequencies(const RotaryPlan& plan, size_t sequence_length) {
  const RopeScaling& scaling = plan.scaling;
  const double length = static_cast<double>(sequence_length);
  const double theta =
      scaling.kind == RopeScaling::Kind::kDynamic ? DynamicTheta(plan, length) : plan.theta;
  const std::vector<double>& divisors =
      length > scaling.original_context ? scaling.long_factors : scaling.short_factors;

  std::vector<double> result(plan.pairs());
  for (size_t i = 0; i < result.size(); ++i) {
    // Pair i turns by theta^(-2i/dims) per position.
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(plan.dims);
    const double frequency = std::pow(theta, -exponent);
    switch (scaling.kind) {
      case RopeScaling::Kind::kNone:
      case RopeScaling::Kind::kDynamic:
        result[i] = frequency;
        break;
      case RopeScaling::Kind::kLinear:
        result[i] = frequency / scaling.factor;
        break;
      case RopeScaling::Kind::kLlama3:
        result[i] = Llama3Frequency(frequency, scaling);
        break;
      case RopeScaling::Kind::kYarn:
        result[i] = YarnFrequency(frequency, static_cast<double>(i), scaling);
        break;
      case RopeScaling::Kind::kLongRope:
        result[i] = frequency / divisors[i];
        break;
    }
  }
  return result;
}

}  // namespace qualm
