// What the GLM families of transformers share.
#pragma once

#include "model/standard_plan.h"

namespace qualm {

// LLaMA with half of each head rotated in neighbouring pairs, biases on queries, keys and values,
// and gate and up in one tensor.
ModelPlan GlmPlan(const ConfigReader& config);

}  // namespace qualm
