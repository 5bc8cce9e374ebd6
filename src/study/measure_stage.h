// Speed and memory of a model, as the outcome of a stage.
#pragma once

#include <string>

#include "study/stage_outcome.h"

namespace qualm {

struct Context;

// Throws kFailed on another processor than the one that was planned for.
MeasureOutcome MeasureArtefact(const std::string& folder, const MeasureInputs& inputs,
                               const std::string& label, const Context& context);

}  // namespace qualm
