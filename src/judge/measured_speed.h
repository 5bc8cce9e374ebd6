// A measurement of speed as a text that a store keeps.
#pragma once

#include <string>

#include "efficiency/measure.h"

namespace qualm {

// JSON: medians and extremes of loading, prefill and decoding, memory, formats of the layers.
std::string TextOf(const SpeedResult& speed);
// Throws bad input at `place` for a text that TextOf did not write.
SpeedResult SpeedOf(const std::string& text, const std::string& place);

}  // namespace qualm
