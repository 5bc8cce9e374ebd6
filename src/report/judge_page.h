// The page of `qualm judge`.
#pragma once

#include <string>

#include "judge/judge.h"
#include "study/spec.h"

namespace qualm {

// A whole page that opens offline. Deterministic: the same verdict gives the same bytes.
std::string JudgePage(const Verdict& verdict);

// "weights only", "as configured"; empty where there is one reading.
LocalText ReadingText(JudgedReading reading);

}  // namespace qualm
