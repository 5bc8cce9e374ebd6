// Schemes as JSON: in manifests, journals and canonical recipes. Strict: an unknown key is bad
// input.
#pragma once

#include <string_view>

#include "artefact/activations.h"
#include "artefact/kv_scheme.h"
#include "artefact/scheme.h"
#include "io/json.h"

namespace qualm {

Json ToJson(const Scheme& scheme);
Scheme SchemeFromJson(const Json& json, std::string_view place);
Json ToJson(const ActivationGrid& grid);
ActivationGrid ActivationGridFromJson(const Json& json, std::string_view place);
Json ToJson(const KvCacheScheme& scheme);
KvCacheScheme KvCacheSchemeFromJson(const Json& json, std::string_view place);

}  // namespace qualm
