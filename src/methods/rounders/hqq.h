// Half-quadratic quantization: zero points by a solver that needs no data. docs/methods/hqq.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

// Options: lp_norm, beta, kappa, iterations.
std::unique_ptr<Rounder> MakeHqq(const Yaml* options);

}  // namespace qualm
