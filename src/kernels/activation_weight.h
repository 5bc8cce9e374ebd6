// The product of a layer whose inputs are rounded to codes first.
#pragma once

#include <memory>

#include "artefact/activations.h"
#include "tensor/linear.h"

namespace qualm {

// y = x̂·Wᵀ with x̂ the rounded inputs as float32 and the inner weight's own product.
std::unique_ptr<LinearWeight> WithActivations(std::unique_ptr<LinearWeight> inner,
                                              const ActivationGrid& activations);

}  // namespace qualm
