// GPTQ (Frantar et al. 2023): rounds columns one after the other and lets the columns that follow
// make up for the error, as far as the inputs' second moments say they can. docs/methods/gptq.md
#pragma once

#include <memory>

#include "quantize/rounders.h"

namespace qualm {

class Yaml;

std::unique_ptr<Rounder> MakeGptq(const Yaml* options);

}  // namespace qualm
