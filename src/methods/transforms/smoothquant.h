// SmoothQuant: scales between inputs and weights. See smoothquant.cc and
// docs/methods/smoothquant.md.
#pragma once

#include <memory>

#include "methods/transforms.h"

namespace qualm {

std::unique_ptr<Transform> MakeSmoothQuant(const Yaml* options);

}  // namespace qualm
