// OWQ: the most sensitive input columns stay float. docs/methods/owq.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

// Options: extra_bits, columns, act_order, damp.
std::unique_ptr<Rounder> MakeOwq(const Yaml* options);

}  // namespace qualm
