#include "artefact/scheme_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "artefact/codebook.h"
#include "base/error.h"
#include "base/strings.h"

namespace qualm {

Json ToJson(const Scheme& scheme) {
  Json json{{"type", NameOf(scheme.type)},
            {"bits", scheme.bits},
            {"granularity", NameOf(scheme.granularity)}};
  if (scheme.granularity == Granularity::kGroup) json["group_size"] = scheme.group_size;
  json["zero_point"] = NameOf(scheme.zero_point);
  if (scheme.type != NumberType::kInteger) {
    // The format says it all.
  } else if (scheme.is_symmetric()) {
    json["symmetric_convention"] = NameOf(scheme.symmetric_convention);
  } else {
    json["range_includes_zero"] = scheme.range_includes_zero;
  }
  if (!HasByteScales(scheme.type)) json["scale_type"] = NameOf(scheme.scale_type);
  if (scheme.second_level) {
    json["second_level"] =
        Json{{"bits", scheme.second_level->bits}, {"group_rows", scheme.second_level->group_rows}};
  }
  if (scheme.dynamic) json["dynamic"] = true;
  return json;
}

Scheme SchemeFromJson(const Json& json, std::string_view place) {
  RequireObject(json,
                {"type", "bits", "granularity", "group_size", "zero_point", "symmetric_convention",
                 "range_includes_zero", "scale_type", "second_level", "dynamic"},
                place);
  Scheme scheme;
  scheme.type = NumberTypeFromName(GetString(json, "type", place), place);
  scheme.bits = GetIntIn(json, "bits", place, 1, 8);
  scheme.granularity = GranularityFromName(GetString(json, "granularity", place), place);
  int64_t group_size = GetInt(json, "group_size", place, 0);
  if (group_size < 0 || group_size > (int64_t{1} << 24)) {
    ThrowBadInput(StrCat(place, ":group_size"), "a size", StrCat(group_size));
  }
  scheme.group_size = static_cast<int>(group_size);
  scheme.zero_point = ZeroPointKindFromName(GetString(json, "zero_point", place), place);
  if (json.contains("symmetric_convention")) {
    scheme.symmetric_convention =
        SymmetricConventionFromName(GetString(json, "symmetric_convention", place), place);
  }
  scheme.range_includes_zero = GetBool(json, "range_includes_zero", place, true);
  if (!HasByteScales(scheme.type)) {
    std::string scale_type = GetString(json, "scale_type", place);
    auto type = DTypeFromName(scale_type);
    if (!type) ThrowBadInput(StrCat(place, ":scale_type"), "F16, BF16 or F32", scale_type);
    scheme.scale_type = *type;
  }
  if (json.contains("second_level")) {
    const Json& second = json["second_level"];
    RequireObject(second, {"bits", "group_rows"}, place);
    scheme.second_level = SecondLevel{GetIntIn(second, "bits", place, 1, 8),
                                      GetIntIn(second, "group_rows", place, 1, 1 << 24)};
  }
  scheme.dynamic = GetBool(json, "dynamic", place, false);
  scheme.Validate(place);
  return scheme;
}

Json ToJson(const ActivationGrid& grid) {
  Json json{{"scheme", ToJson(grid.scheme)}};
  if (grid.scheme.dynamic) return json;
  json["scale"] = grid.point.scale;
  json["zero"] = grid.point.zero;
  return json;
}

ActivationGrid ActivationGridFromJson(const Json& json, std::string_view place) {
  const std::string inner = StrCat(place, ": activations");
  RequireObject(json, {"scheme", "scale", "zero"}, inner);
  ActivationGrid grid;
  grid.scheme = SchemeFromJson(GetChild(json, "scheme", inner), inner);
  ValidateActivationScheme(grid.scheme, inner);
  if (grid.scheme.dynamic) return grid;
  grid.point.scale = static_cast<float>(GetDouble(json, "scale", inner));
  grid.point.zero = static_cast<float>(GetDouble(json, "zero", inner));
  if (!std::isnormal(grid.point.scale) || grid.point.scale < 0) {
    ThrowBadInput(inner, "a positive scale", StrCat(grid.point.scale));
  }
  const auto most = static_cast<float>((1 << grid.scheme.bits) - 1);
  if (!(grid.point.zero >= 0 && grid.point.zero <= most) ||
      grid.point.zero != std::nearbyint(grid.point.zero)) {
    ThrowBadInput(inner, StrCat("a whole zero point in 0..", most), StrCat(grid.point.zero));
  }
  return grid;
}

namespace {

Json ToJson(const KvPart& part) {
  return Json{{"granularity", NameOf(part.granularity)}, {"scheme", ToJson(part.scheme)}};
}

KvPart KvPartFromJson(const Json& json, std::string_view place) {
  RequireObject(json, {"granularity", "scheme"}, place);
  return {SchemeFromJson(GetChild(json, "scheme", place), place),
          KvGranularityFromName(GetString(json, "granularity", place), place)};
}

}  // namespace

Json ToJson(const KvCacheScheme& scheme) {
  return Json{{"keys", ToJson(scheme.keys)},
              {"values", ToJson(scheme.values)},
              {"key_group_tokens", scheme.key_group_tokens}};
}

KvCacheScheme KvCacheSchemeFromJson(const Json& json, std::string_view place) {
  const std::string inner = StrCat(place, ": kv_cache");
  RequireObject(json, {"keys", "values", "key_group_tokens"}, inner);
  KvCacheScheme scheme;
  scheme.keys = KvPartFromJson(GetChild(json, "keys", inner), inner);
  scheme.values = KvPartFromJson(GetChild(json, "values", inner), inner);
  scheme.key_group_tokens = GetIntIn(json, "key_group_tokens", inner, 0, 1 << 24);
  scheme.Validate(inner);
  return scheme;
}

}  // namespace qualm
