// Round to nearest: every weight to the closest point of the grid. Needs no data.
#pragma once

#include <memory>

#include "artefact/grid.h"
#include "methods/rounders.h"

namespace qualm {

struct Context;
class Yaml;

// weight [out, in], finite.
QuantizedLinear RoundToNearest(Span2D<const float> weight, const Scheme& scheme, ClipSearch search,
                               const Context& context);

std::unique_ptr<Rounder> MakeRtn(const Yaml* options);

}  // namespace qualm
