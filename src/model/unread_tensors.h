// Tensors of a checkpoint that its model does not need.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "model/model_plan.h"

namespace qualm {

// The names that are not `needed`: those that are known to mean nothing (stored tables of rotary
// angles, causal masks, blocks after the last one, what the family names) and those that the source
// ignores. Of what type they are does not matter. Throws bad input that names the others,
// because a model that lacks one of its tensors is another model.
std::vector<std::string> UnreadTensors(const std::vector<std::string>& names, const ModelPlan& plan,
                                       const std::set<std::string>& needed,
                                       const ModelSource& source);

}  // namespace qualm
