// Rotary position embeddings of an attention part: which values of a head turn, and how fast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/ops.h"

namespace qualm {

struct RopeScaling {
  enum class Kind : uint8_t { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3 only
  double original_context = 8192;                    // llama3 only

  bool operator==(const RopeScaling&) const = default;
};

struct RotaryPlan {
  size_t dims = 0;  // the first values of each head that are rotated; even
  RotaryLayout layout = RotaryLayout::kHalf;
  double theta = 10000;
  RopeScaling scaling;

  bool operator==(const RotaryPlan&) const = default;
};

// Angle per position of each rotary pair, [dims/2], with the scaling applied (linear: Chen et al.
// 2023; llama3: the piecewise rule of the Llama 3.1 release).
std::vector<double> RopeInverseFrequencies(const RotaryPlan& plan);

}  // namespace qualm
