// Which recipe and calibration set to choose under a budget, and how certain the choice is.
#pragma once

#include <vector>

#include "analysis/study_analysis.h"

namespace qualm {

struct Context;

// The advice for every model, without bounds and then for each of the study's budgets.
std::vector<Guidance> FindGuidance(const StudyTable& table, const Context& context);

}  // namespace qualm
