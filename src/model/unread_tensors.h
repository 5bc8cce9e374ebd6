// Tensors of a checkpoint that its model does not need.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "io/tensor_file.h"
#include "model/model_plan.h"

namespace qualm {

// The names of the tensors that are not `needed`, sorted: those that are known to mean nothing
// (stored tables of rotary angles, causal masks, blocks after the last one) and those that the
// source ignores. Of what type they are does not matter. Throws bad input that names the others,
// because a model that lacks one of its tensors is another model.
std::vector<std::string> UnreadTensors(const TensorFile& tensors, const ModelPlan& plan,
                                       const std::set<std::string>& needed,
                                       const ModelSource& source);

}  // namespace qualm
