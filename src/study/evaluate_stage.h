// What one model makes of one test, as the JSON of a stage's record: items with their losses and
// clusters, scores, distances to the float model, samples.
#pragma once

#include "io/json.h"
#include "study/graph.h"
#include "study/work_folder.h"

namespace qualm {

struct Model;
class Progress;
class ThreadPool;

// `reference`: the float model, for distances on texts; may be null.
Json EvaluateTest(const Stage& stage, const StudyPlan& plan, const WorkFolder& work,
                  const Model& model, const Model* reference, ThreadPool& pool, Progress& progress);

}  // namespace qualm
