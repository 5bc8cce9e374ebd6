// Static ranges of activations, found in calibration.
#pragma once

#include <span>

#include "artefact/activations.h"
#include "quantize/recipe_schemes.h"
#include "tensor/matrix.h"

namespace qualm {

// The grid of a layer's inputs. Dynamic schemes need no data. Static ones: min_max takes the range
// over all tokens (`min`, `max` per channel; the sample's where they are empty); percentile the
// range that holds all but (100 − percentile) % of the sampled values, on the side of the
// magnitudes if the scheme is symmetric, else on each side; mse the shrunken range (1 − i/100, i <
// 80) with the smallest Σ(x − x̂)² over the sample. sample [rows, in] not empty.
ActivationGrid FitActivations(const ActivationPlan& plan, Span2D<const float> sample,
                              std::span<const float> min, std::span<const float> max);

}  // namespace qualm
