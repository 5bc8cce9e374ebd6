// Speed and memory of an artefact, as the JSON of a stage's record.
#pragma once

#include <string>

#include "io/json.h"
#include "study/graph.h"

namespace qualm {

class Progress;
class ThreadPool;

Json MeasureArtefact(const std::string& folder, const Stage& stage, ThreadPool& pool,
                     Progress& progress);

}  // namespace qualm
