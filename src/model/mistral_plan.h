// What Mistral and Ministral share.
#pragma once

#include "model/standard_plan.h"

namespace qualm {

// LLaMA with a sliding attention window in every block, or in those that layer_types names.
// `rounds_head_dim`: heads need not divide the hidden size.
ModelPlan MistralPlan(const ConfigReader& config, bool rounds_head_dim);

}  // namespace qualm
