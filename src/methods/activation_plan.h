// How the inputs of a layer are to be rounded, as a recipe says and methods are told.
#pragma once

#include "artefact/scheme.h"
#include "io/fields.h"

namespace qualm {

// How a static range is found in calibration (granularity tensor): the whole range of the values,
// the range that holds `percentile` per cent of the magnitudes, or the range with the smallest
// squared error.
enum class RangeChoice { kMinMax, kPercentile, kMse };

EnumNames NamesOfEnum(RangeChoice);

// How a layer's inputs are rounded, and how a static range is found.
struct ActivationPlan {
  Scheme scheme;
  RangeChoice range = RangeChoice::kMinMax;
  double percentile = 99.99;  // of kPercentile

  // In canonical recipes the granularity says whether the scale is found at run time, and scales
  // have one type, so neither is a field.
  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    Scheme::CodeFields(visit, self.scheme);
    Scheme::GroupFields(visit, self.scheme);
    Scheme::ZeroPointFields(visit, self.scheme);
    visit("granularity", self.scheme.granularity);
    const bool is_static = !self.scheme.dynamic;
    visit("range", self.range, {.is_written = is_static});
    visit("percentile", self.percentile,
          {.is_written = is_static && self.range == RangeChoice::kPercentile});
  }
};

// Symmetric int8 with a scale for each token, found at run time.
Scheme DefaultActivationScheme();

}  // namespace qualm
