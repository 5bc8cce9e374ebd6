// What Cohere's families share.
#pragma once

#include "model/standard_plan.h"

namespace qualm {

// One LayerNorm without bias feeds attention and a gated MLP that run in parallel; rotation in
// neighbouring pairs; tied head with scaled logits.
ModelPlan CoherePlan(const ConfigReader& config, double rope_theta);

}  // namespace qualm
