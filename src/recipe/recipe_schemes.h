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
#include "methods/activation_plan.h"

namespace qualm {

struct ParsedActivations {
  std::optional<ActivationPlan> plan;  // empty: none
  std::vector<std::string> skip;
};

// Reads the keys of `yaml` over the values of `scheme`.
Scheme ParseWeightScheme(const Yaml& yaml, Scheme scheme);
// "none", "int8", or a map.
ParsedActivations ParseActivations(const Yaml& yaml);
// "none", "int8", a map for both keys and values, or {keys: ..., values: ...}.
std::optional<KvCacheScheme> ParseKvCache(const Yaml& yaml);

// The canonical form, with defaults spelled out; the first one without skipped layers.
Json RecipeJson(const std::optional<ActivationPlan>& plan);
Json RecipeJson(const KvCacheScheme& scheme);

}  // namespace qualm
