// What one model makes of one test, as the outcome of a stage: items with their losses and
// clusters, scores, distances to the float model, samples.
#pragma once

#include "study/graph.h"
#include "study/stage_outcome.h"
#include "study/work_folder.h"

namespace qualm {

struct Context;
struct Model;

// Perplexity of a text. `reference`: the float model, for distances; may be null.
TextOutcome EvaluateText(const Stage& stage, const StudyPlan& plan, const WorkFolder& work,
                         const Model& model, const Model* reference, const Context& context);

RowsOutcome EvaluateTask(const Stage& stage, const StudyPlan& plan, const WorkFolder& work,
                         const Model& model, const Context& context);

}  // namespace qualm
