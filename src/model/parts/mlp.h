// The feed-forward part: down(f(gate(x))·up(x)), or down(f(up(x))) where there is no gate.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/block_part.h"
#include "model/linear_site.h"

namespace qualm {

struct MlpPlan {
  Activation activation = Activation::kSilu;
  std::optional<LinearSite> gate;
  LinearSite up, down;
};

// What gate and up read; what down reads.
std::vector<PartInput> InputsOf(const MlpPlan& plan);

// `plan` must outlive the part.
std::unique_ptr<BlockPart> MakePart(const MlpPlan& plan);

}  // namespace qualm
