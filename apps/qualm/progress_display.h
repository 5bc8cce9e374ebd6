// The terminal's view of a long run.
#pragma once

#include <memory>

#include "base/progress.h"

namespace qualm::cli {

// On stderr: a bar with the time left where that is a terminal, a plain line at most once a second
// otherwise; only warnings if `quiet`.
std::unique_ptr<Progress> MakeStderrProgress(bool quiet);

}  // namespace qualm::cli
