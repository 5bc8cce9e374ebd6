// How far two models are from each other on a task that both have answered.
#pragma once

#include "evaluate/statistics.h"
#include "evaluate/task_run.h"

namespace qualm {

struct Context;

// KL(reference ‖ model) over the whole vocabulary and the share of equal argmax, means over the
// positions that an item's continuations score, then over items with their errors.
struct ScoredDistances {
  Estimate kl, same_top1;
};

// On the requests of `outcome`, which is what `model` made of the task; `reference_outcome` is the
// reference's. NaN for generation tasks. Throws bad input for models whose tokenizers read the
// prompts in different ways.
ScoredDistances DistancesOnTask(const TaskOutcome& reference_outcome, const Model& reference,
                                const TaskOutcome& outcome, const Model& model,
                                const ScorerOptions& options, const Context& context);

}  // namespace qualm
