// OS+: shifts and scales of inputs. See os_plus.cc and docs/methods/os_plus.md.
#pragma once

#include <memory>

#include "methods/transforms.h"

namespace qualm {

std::unique_ptr<Transform> MakeOsPlus(const Yaml* options);

}  // namespace qualm
