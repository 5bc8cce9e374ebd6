// Which recipe and calibration set to take under a budget, and how sure that is.
#pragma once

#include <vector>

#include "analysis/study_analysis.h"

namespace qualm {

// For every model and every budget of the study, and one without bounds.
std::vector<Guidance> FindGuidance(const StudyTable& table, ThreadPool& pool);

}  // namespace qualm
