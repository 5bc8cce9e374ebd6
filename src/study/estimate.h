// Rough costs of stages before they run, from shapes: for plans, progress, and the choice of what
// runs at the same time. Times assume an idle machine; the times of finished stages correct them
// (ScaleByHistory).
#pragma once

#include "study/graph.h"

namespace qualm {

class WorkFolder;

// Fills seconds (0 where `flops` is 0), memory and disk of every stage.
void EstimateStages(StudyPlan& plan, double flops);

// Multiplies the seconds of open stages by how far estimates were off in finished stages of their
// kind (the ratio of sums over all records in the folder). Needs at least three of a kind.
void ScaleByHistory(StudyPlan& plan, const WorkFolder& work);

}  // namespace qualm
