// Static ranges of activations, found in calibration.
#pragma once

#include <span>

#include "artefact/activations.h"
#include "artefact/quantized_linear.h"
#include "methods/activation_plan.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

// The grid of a layer's inputs. Dynamic schemes need no data. Static ones: min_max takes the range
// over all tokens (`min`, `max` per channel; the sample's where they are empty); percentile the
// range that holds all but (100 − percentile) % of the sampled values, on the side of the
// magnitudes if the scheme is symmetric, else on each side; mse the shrunken range (1 − i/100, i <
// 80) with the smallest Σ(x − x̂)² over the sample. sample [rows, in] not empty.
ActivationGrid FitActivations(const ActivationPlan& plan, Span2D<const float> sample,
                              std::span<const float> min, std::span<const float> max);

// The same for a rounded layer: the range of its inputs after its own transforms, without its float
// columns, which are not rounded.
ActivationGrid FitLayerActivations(const ActivationPlan& plan, const QuantizedLinear& layer,
                                   Span2D<const float> sample, std::span<const float> min,
                                   std::span<const float> max, const Context& context);

}  // namespace qualm
