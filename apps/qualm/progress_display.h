// The terminal's view of a long run.
#pragma once

#include <memory>

#include "base/progress.h"

namespace qualm::cli {

// On stderr: a bar with the remaining time if that is a terminal, otherwise a plain line at most
// once a second; only warnings if `quiet`.
std::unique_ptr<Progress> MakeStderrProgress(bool quiet);

}  // namespace qualm::cli
