// The results of studies in one SQLite file, WORK/results.db: what other programs read. Made from
// the records of stages, which stay what decides; collecting again adds what is new. Schema:
// docs/formats/study-results.md.
#pragma once

#include <cstddef>

#include "study/graph.h"
#include "study/work_folder.h"

namespace qualm {

inline constexpr int kStudyResultsVersion = 2;

struct CollectCounts {
  size_t stages = 0, items = 0;  // added now
};

// One transaction: a process that dies leaves the file as it was. Throws bad input for a file that
// is another database, kFailed where it cannot be written.
CollectCounts CollectResults(const StudyPlan& plan, const WorkFolder& work);

}  // namespace qualm
