// GPTQ (Frantar et al. 2023): rounds one column after another and lets the columns that follow
// compensate the error, as far as the inputs' second moments allow. docs/methods/gptq.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

class Yaml;

std::unique_ptr<Rounder> MakeGptq(const Yaml* options);

}  // namespace qualm
