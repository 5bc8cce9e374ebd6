// A generation task on a model.
#pragma once

#include "evaluate/task_run.h"

namespace qualm {

struct Context;

// Like RunTask. Prompts that leave no room for the text lose shots from the last one on, then
// tokens on the left; a text may take at most half of the model's context. Throws bad input also
// for metrics that run code without the permission to.
TaskOutcome RunGeneration(const Task& task, const Model& model, const std::string& model_hash,
                          const TaskRunOptions& options, const Context& context);

// The value of a metric over rows, of each row's counts, with its error: of means the usual one,
// else the deviation over 200 bootstrap samples of rows with a fixed seed (NaN for n < 2). Groups
// are those of kLevelMetric.
struct TextMetric;
Estimate EstimateOf(const TextMetric& metric, std::span<const std::vector<double>> counts,
                    std::span<const std::string> groups = {});

}  // namespace qualm
