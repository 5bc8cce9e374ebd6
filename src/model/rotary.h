// Rotary position embeddings of an attention part: which values of a head turn, and how fast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/ops.h"

namespace qualm {

// How a rotation is stretched to contexts longer than the model was first trained with.
struct RopeScaling {
  enum class Kind : uint8_t {
    kNone,
    kLinear,    // all frequencies divided by `factor` (Chen et al. 2023)
    kDynamic,   // a larger base for sequences longer than original_context ("dynamic NTK")
    kLlama3,    // the piecewise rule of the Llama 3.1 release
    kYarn,      // a ramp between stretched and kept frequencies (Peng et al. 2023)
    kLongRope,  // a divisor for each frequency, of one list for short and one for long sequences
  };            // (Ding et al. 2024)
  Kind kind = Kind::kNone;
  double factor = 1;
  double original_context = 8192;                    // all kinds but linear
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double ramp_first = 0, ramp_last = 0;              // yarn: pairs between which the ramp lies
  std::vector<double> short_factors = {}, long_factors = {};  // longrope, by pair
  double attention_factor = 1;  // multiplies what is turned: yarn and longrope

  bool operator==(const RopeScaling&) const = default;
};

struct RotaryPlan {
  // The first values of each head that are rotated, one more if the number is odd; the frequencies
  // are those of this number.
  size_t dims = 0;
  RotaryLayout layout = RotaryLayout::kHalf;
  double theta = 10000;
  RopeScaling scaling = {};

  size_t pairs() const { return (dims + 1) / 2; }
  // Whether the frequencies depend on the length of the sequence.
  bool depends_on_length() const {
    return scaling.kind == RopeScaling::Kind::kDynamic ||
           scaling.kind == RopeScaling::Kind::kLongRope;
  }
  bool operator==(const RotaryPlan&) const = default;
};

// Pairs between which YaRN's ramp lies, from the numbers of turns beta_fast and beta_slow over
// `original_context` positions (section 3.2 of the paper; `truncate` rounds them outwards).
struct YarnRamp {
  double first = 0, last = 0;
};
YarnRamp YarnRampOf(size_t dims, double theta, double original_context, double beta_fast,
                    double beta_slow, bool truncate);

// A number that is equal for two sequence lengths exactly if all rotations of the plan turn both
// alike: 0 where the length does not matter.
size_t RotaryRegime(const RotaryPlan& plan, size_t sequence_length);

// Angle per position of each rotary pair, [pairs], with the scaling applied. `sequence_length` is
// the number of positions that the sequence will have in the end; it matters to dynamic scaling and
// LongRoPE only.
std::vector<double> RopeInverseFrequencies(const RotaryPlan& plan, size_t sequence_length);

}  // namespace qualm
