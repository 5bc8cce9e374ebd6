// The schemes in a recipe: of weights, of activations, of the cache. Strict YAML.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "artefact/kv_scheme.h"
#include "artefact/scheme.h"
#include "io/json.h"
#include "io/yaml.h"

namespace qualm {

// How a static range is found in calibration (granularity tensor): all of what was seen, the range
// that holds `percentile` per cent of the magnitudes, or the one with the smallest squared error.
enum class RangeChoice { kMinMax, kPercentile, kMse };

struct ActivationPlan {
  Scheme scheme;
  RangeChoice range = RangeChoice::kMinMax;
  double percentile = 99.99;  // of kPercentile
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

// In the grammar of recipes, defaults spelled out; the first one without skipped layers.
Json RecipeJson(const std::optional<ActivationPlan>& plan);
Json RecipeJson(const KvCacheScheme& scheme);

}  // namespace qualm
