// LLM.int8(): inputs with outliers stay float, and so do the weights that they meet.
// docs/methods/llm_int8.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

// Options: threshold.
std::unique_ptr<Rounder> MakeLlmInt8(const Yaml* options);

}  // namespace qualm
