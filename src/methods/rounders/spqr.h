// SpQR: small groups with quantized scales and zero points, and separate outliers.
// docs/methods/spqr.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

// Options: outlier_threshold, act_order, damp.
std::unique_ptr<Rounder> MakeSpqr(const Yaml* options);

}  // namespace qualm
