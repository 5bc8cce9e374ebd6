// What a task file of lm-evaluation-harness says about answers: metrics, filters, and how texts are
// generated.
#pragma once

namespace qualm {

class TaskKeys;
struct Task;

// Fills the task's metrics and, of generation tasks, its GenerationSpec. Throws bad input for
// metrics, aggregations and settings that are not known.
void ReadLmEvalScoring(const TaskKeys& keys, Task& task);

}  // namespace qualm
