// QuIP: adaptive rounding of weights made incoherent by random rotations. docs/methods/quip.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

// Options: incoherence, rotation, rescale, rho, damp, greedy_passes.
std::unique_ptr<Rounder> MakeQuip(const Yaml* options);

}  // namespace qualm
