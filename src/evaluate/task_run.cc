// Selects the runner of a task's kind.
#include "evaluate/task_run.h"

#include "evaluate/generation_run.h"
#include "evaluate/likelihood_run.h"

namespace qualm {

TaskOutcome RunTask(const Task& task, const Model& model, const std::string& model_hash,
                    const TaskRunOptions& options, const Context& context) {
  const auto run = task.kind == TaskKind::kGeneration ? RunGeneration : RunLikelihoods;
  return run(task, model, model_hash, options, context);
}

}  // namespace qualm
