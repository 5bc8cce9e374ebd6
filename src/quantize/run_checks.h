// The checks of a run before it writes anything.
#pragma once

#include "model/checkpoint.h"
#include "quantize/run.h"

namespace qualm {

// Throws bad input for a recipe that does not fit the checkpoint, missing calibration, tokens or
// sequences that the model cannot take.
void RefuseWhatCannotBeDone(const QuantizeOptions& options, const Checkpoint& checkpoint);

}  // namespace qualm
