// SliM-LLM: more bits for salient groups, fewer for unimportant ones. docs/methods/slim.md
#pragma once

#include <memory>

#include "methods/rounders.h"

namespace qualm {

// Options: lambda, salient_sigma, range_steps, range_width, damp.
std::unique_ptr<Rounder> MakeSlim(const Yaml* options);

}  // namespace qualm
