// The schemes in a recipe: of weights, of activations, of the cache. Strict YAML.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "artefact/kv_scheme.h"
#include "artefact/scheme.h"
#include "io/fields.h"
#include "io/json.h"
#include "io/yaml.h"

namespace qualm {

// How a static range is found in calibration (granularity tensor): all of what was seen, the range
// that holds `percentile` per cent of the magnitudes, or the one with the smallest squared error.
enum class RangeChoice { kMinMax, kPercentile, kMse };

EnumNames NamesOfEnum(RangeChoice);

struct ActivationPlan {
  Scheme scheme;
  RangeChoice range = RangeChoice::kMinMax;
  double percentile = 99.99;  // of kPercentile

  // As canonical recipes have it: the granularity says whether the scale is found at run time, and
  // scales have one type.
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

struct ParsedActivations {
  std::optional<ActivationPlan> plan;  // empty: none
  std::vector<std::string> skip;
};

// The keys of `yaml` put over `scheme`.
Scheme ParseWeightScheme(const Yaml& yaml, Scheme scheme);
// "none", "int8", or a map.
ParsedActivations ParseActivations(const Yaml& yaml);
// "none", "int8", a map for keys and values alike, or {keys: ..., values: ...}.
std::optional<KvCacheScheme> ParseKvCache(const Yaml& yaml);

// As canonical recipes have it, defaults spelled out; the first one without skipped layers.
Json RecipeJson(const std::optional<ActivationPlan>& plan);
Json RecipeJson(const KvCacheScheme& scheme);

}  // namespace qualm
