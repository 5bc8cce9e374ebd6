// Calibration sets as a study's YAML states them.
#pragma once

#include <vector>

#include "study/spec.h"

namespace qualm {

class Yaml;

// Adds one set or, where `samples` or `length` are lists, several with the sizes in their names.
// Keys that are missing are those of `defaults`. Throws bad input naming the place.
void ReadCalibration(const Yaml& yaml, const SamplerOptions& defaults,
                     std::vector<CalibrationSpec>& all);

}  // namespace qualm
