// Slow, obvious twins of the operations of ops.h, in double.
#pragma once

#include <span>
#include <vector>

#include "tensor/ops.h"

namespace qualm::reference {

// One row of qualm::Norm; weight and bias as there.
std::vector<double> Norm(std::span<const float> x, const NormParameters& parameters,
                         std::span<const float> weight, std::span<const float> bias);

// activation(x).
double ActivationOf(Activation activation, double x);

// One head after qualm::ApplyRope.
std::vector<double> Rotated(std::span<const float> head, std::span<const float> cosine,
                            std::span<const float> sine, RotaryLayout layout);

}  // namespace qualm::reference
