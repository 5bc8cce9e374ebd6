// A verdict for other programs (docs/formats/judge.md).
#pragma once

#include "io/json.h"
#include "judge/judge.h"

namespace qualm {

Json VerdictJson(const Verdict& verdict);

}  // namespace qualm
