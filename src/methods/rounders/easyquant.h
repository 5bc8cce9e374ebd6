// EasyQuant: outliers of the weights stay fp16, and the scale of the remaining weights is
// optimised. docs/methods/easyquant.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

// Options: outliers, outlier_sigma, statistics, steps, learning_rate.
std::unique_ptr<Rounder> MakeEasyQuant(const Yaml* options);

}  // namespace qualm
