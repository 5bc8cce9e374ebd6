// QuaRot: rotations of the whole model. See quarot.cc and docs/methods/quarot.md.
#pragma once

#include <memory>

#include "methods/transforms.h"

namespace qualm {

std::unique_ptr<Transform> MakeQuaRot(const Yaml* options);

}  // namespace qualm
