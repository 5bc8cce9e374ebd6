// AWQ: activation-aware scales and clips. See awq.cc and docs/methods/awq.md.
#pragma once

#include <memory>

#include "methods/transforms.h"

namespace qualm {

std::unique_ptr<Transform> MakeAwq(const Yaml* options);

}  // namespace qualm
