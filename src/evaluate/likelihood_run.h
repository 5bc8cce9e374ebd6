// A task whose continuations are scored: multiple choice, or one continuation for each item.
#pragma once

#include "evaluate/task_run.h"

namespace qualm {

struct Context;

// Like RunTask, for tasks of these two kinds.
TaskOutcome RunLikelihoods(const Task& task, const Model& model, const std::string& model_hash,
                           const TaskRunOptions& options, const Context& context);

}  // namespace qualm
