// Reads the schemes of a recipe from YAML. The keys of a map are read into a struct of optional
// values and then applied to the scheme that was there before; whether the keys fit together is
// checked at the line of the key that does not fit.
#include "recipe/recipe_schemes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "artefact/codebook.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "io/json_fields.h"
#include "methods/rounders.h"

namespace qualm {
namespace {

constexpr int kFewestBits = 2, kMostBits = 8;

// --- Keys of a map

// The keys that several kinds of schemes share. Each kind states the ones that it has, in its
// order.
struct SchemeKeys {
  std::string type;  // "int4", "int" together with `bits`, "nf4" and the like
  std::optional<int> bits;
  std::optional<Granularity> granularity;
  std::optional<int64_t> group_size;
  std::optional<bool> symmetric;
  std::optional<SymmetricConvention> symmetric_convention;
  std::optional<ZeroPointKind> zero_point;
  std::optional<bool> range_includes_zero;

  template <class Visitor, class Self>
  static void TypeFields(Visitor& visit, Self& self) {
    visit("type", self.type);
    visit("bits", self.bits, {.range = InRange(kFewestBits, kMostBits)});
  }
  template <class Visitor, class Self>
  static void GroupFields(Visitor& visit, Self& self) {
    visit("granularity", self.granularity);
    visit("group_size", self.group_size);
  }
  template <class Visitor, class Self>
  static void ZeroPointFields(Visitor& visit, Self& self) {
    visit("symmetric", self.symmetric);
    visit("symmetric_convention", self.symmetric_convention);
    visit("zero_point", self.zero_point);
  }
};

// The map of `second_level`.
struct SecondLevelKeys {
  SecondLevel level;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("bits", self.level.bits, {.range = InRange(1, 8)});
    visit("group_rows", self.level.group_rows, {.range = InRange(1, 16)});
  }
};

// The map of `weights`.
struct WeightKeys : SchemeKeys {
  std::string scale_type;
  std::optional<SecondLevelKeys> second_level;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    TypeFields(visit, self);
    GroupFields(visit, self);
    ZeroPointFields(visit, self);
    visit("scale_type", self.scale_type);
    visit("range_includes_zero", self.range_includes_zero);
    visit("second_level", self.second_level);
  }
};

// The map of `activations`; the range is for static ones.
struct ActivationKeys : SchemeKeys {
  std::optional<RangeChoice> range;
  std::optional<double> percentile;
  std::vector<std::string> skip;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    TypeFields(visit, self);
    GroupFields(visit, self);
    ZeroPointFields(visit, self);
    visit("range_includes_zero", self.range_includes_zero);
    visit("range", self.range);
    visit("percentile", self.percentile,
          {.range = Above(50, 100), .expected = "a percentile above 50 and up to 100"});
    visit("skip", self.skip);
  }
};

// The map of `kv_cache` or of one of its parts; granularities are the cache's.
struct KvKeys : SchemeKeys {
  std::optional<KvGranularity> kv_granularity;
  std::optional<int64_t> group_tokens;  // of keys only

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    TypeFields(visit, self);
    visit("granularity", self.kv_granularity);
    visit("group_tokens", self.group_tokens);
    ZeroPointFields(visit, self);
    visit("range_includes_zero", self.range_includes_zero);
  }
};

// The keys of a map; a type name by itself is short for a map with that type.
template <class Keys>
Keys KeysFrom(const Yaml& yaml) {
  Keys keys;
  if (yaml.IsMap()) {
    ReadFields(yaml, keys);
  } else {
    keys.type = yaml.AsString();
  }
  return keys;
}

// Whether the key is there; the name of a type alone is the key `type`.
bool Says(const Yaml& yaml, std::string_view key) {
  return yaml.IsMap() ? yaml.Find(key) != nullptr : key == "type";
}

// Where the value of `key` is written, for messages about its meaning.
std::string PlaceOf(const Yaml& yaml, std::string_view key) {
  return yaml.IsMap() ? yaml.Get(key).place() : yaml.place();
}

// Scheme::Validate checks the bounds; here the value must only fit into an int.
int SizeFrom(int64_t value) {
  return static_cast<int>(std::clamp<int64_t>(value, -(1 << 30), 1 << 30));
}

// --- From keys to a scheme

constexpr NumberType kFormats[] = {NumberType::kNf4,         NumberType::kFp8E4m3,
                                   NumberType::kFp8E4m3Ieee, NumberType::kFp8E5m2,
                                   NumberType::kMxfp4,       NumberType::kNvfp4};

// Sets type, and bits if the name contains them ("int4").
void SetType(const std::string& name, Scheme& scheme) {
  const DType scale_type = scheme.scale_type;
  for (NumberType format : kFormats) {
    if (name != NameOf(format)) continue;
    scheme = SchemeOfFormat(format);
    scheme.scale_type = scale_type;
    return;
  }

  // Integers keep the other settings of the scheme; a format keeps nothing of them.
  if (scheme.type != NumberType::kInteger) {
    scheme = Scheme{};
    scheme.scale_type = scale_type;
  }

  // The name is "int", or "int" and a digit.
  if (name == "int") return;
  int bits = 0;
  if (name.starts_with("int") && name.size() == 4) {
    std::from_chars(name.data() + 3, name.data() + name.size(), bits);
  }
  if (bits >= kFewestBits && bits <= kMostBits) {
    scheme.bits = bits;
    return;
  }

  std::vector<std::string> known;
  for (int i = kFewestBits; i <= kMostBits; ++i) known.push_back(StrCat("int", i));
  for (NumberType format : kFormats) known.emplace_back(NameOf(format));
  ThrowUnknownName(kNoPlace, "weight type", name, known);
}

DType ScaleTypeFrom(const std::string& name) {
  static constexpr std::pair<const char*, DType> kTypes[] = {
      {"float16", DType::kF16}, {"bfloat16", DType::kBF16}, {"float32", DType::kF32}};
  std::vector<std::string> known;
  for (const auto& [spelling, type] : kTypes) {
    if (name == spelling || name == NameOf(type)) return type;
    known.emplace_back(spelling);
  }
  ThrowUnknownName(kNoPlace, "scale_type", name, known);
}

// A group size without a granularity asks for groups.
void SetGroups(const SchemeKeys& keys, Scheme& scheme) {
  if (keys.granularity) {
    scheme.granularity = *keys.granularity;
    if (scheme.granularity != Granularity::kGroup) scheme.group_size = 0;
  } else if (keys.group_size) {
    scheme.granularity = Granularity::kGroup;
  }
  if (keys.group_size) scheme.group_size = SizeFrom(*keys.group_size);
}

// `symmetric` is short for a `zero_point`; if both are given they must agree.
void SetZeroPointKind(const Yaml& yaml, const SchemeKeys& keys, Scheme& scheme) {
  if (keys.symmetric) {
    scheme.zero_point = *keys.symmetric ? ZeroPointKind::kNone : ZeroPointKind::kInteger;
  }
  if (!keys.zero_point) return;
  scheme.zero_point = *keys.zero_point;
  if (keys.symmetric && *keys.symmetric != scheme.is_symmetric()) {
    ThrowBadInput(PlaceOf(yaml, "zero_point"),
                  *keys.symmetric ? "zero_point: none with symmetric: true"
                                  : "zero_point: integer or float with symmetric: false",
                  NameOf(scheme.zero_point), "symmetric means zero_point: none");
  }
}

// Zero point, convention and range belong to integers; each of the latter two fits one kind of zero
// point.
void SetZeroPoint(const Yaml& yaml, const SchemeKeys& keys, Scheme& scheme) {
  SetZeroPointKind(yaml, keys, scheme);
  if (scheme.zero_point == ZeroPointKind::kOffset) {
    ThrowBadInput(PlaceOf(yaml, "zero_point"), "zero_point none, integer or float", "offset",
                  "files of other tools have offsets; no grid of a recipe does");
  }
  const bool has_convention = keys.symmetric_convention.has_value();
  const bool has_includes_zero = keys.range_includes_zero.has_value();

  if (scheme.type != NumberType::kInteger) {  // Scheme::Validate refuses their zero points
    if (!has_convention && !has_includes_zero) return;
    ThrowBadInput(PlaceOf(yaml, has_convention ? "symmetric_convention" : "range_includes_zero"),
                  StrCat("no such key with type ", NameOf(scheme.type)), "one",
                  "it is about integers");
  }
  if (scheme.is_symmetric() && has_includes_zero) {
    ThrowBadInput(PlaceOf(yaml, "range_includes_zero"),
                  "range_includes_zero in asymmetric schemes only", "a symmetric one");
  }
  if (!scheme.is_symmetric() && has_convention) {
    ThrowBadInput(PlaceOf(yaml, "symmetric_convention"),
                  "symmetric_convention in symmetric schemes only", "an asymmetric one");
  }

  // Settings for the other kind of zero point are not kept.
  if (scheme.is_symmetric()) {
    scheme.range_includes_zero = Scheme{}.range_includes_zero;
  } else {
    scheme.symmetric_convention = Scheme{}.symmetric_convention;
  }

  if (has_convention) scheme.symmetric_convention = *keys.symmetric_convention;
  if (has_includes_zero) scheme.range_includes_zero = *keys.range_includes_zero;
}

// A type whose name has a number of bits must not be given different bits.
void SetBits(const Yaml& yaml, int bits, std::string_view type, Scheme& scheme) {
  if (!type.empty() && bits != scheme.bits) {
    ThrowBadInput(PlaceOf(yaml, "bits"), StrCat("bits ", scheme.bits, " with type ", type),
                  StrCat(bits));
  }
  scheme.bits = bits;
}

}  // namespace

Scheme ParseWeightScheme(const Yaml& yaml, Scheme scheme) {
  WeightKeys keys;
  ReadFields(yaml, keys);

  const bool is_plain_int = keys.type == "int";
  if (Says(yaml, "type")) {
    At([&] { return PlaceOf(yaml, "type"); }, [&] { SetType(keys.type, scheme); });
  }
  if (keys.bits) {
    SetBits(yaml, *keys.bits, is_plain_int ? "" : keys.type, scheme);
  } else if (is_plain_int) {
    ThrowBadInput(PlaceOf(yaml, "type"), "bits together with type int", "none",
                  "or a type such as int4");
  }

  // Groups, and zero points, which depend on both.
  if (keys.granularity == Granularity::kToken) {
    ThrowBadInput(PlaceOf(yaml, "granularity"), "granularity tensor, channel or group for weights",
                  "token");
  }
  SetGroups(keys, scheme);
  if (keys.group_size) {
    At([&] { return PlaceOf(yaml, "group_size"); }, [&] { scheme.Validate(); });
  }
  SetZeroPoint(yaml, keys, scheme);

  if (Says(yaml, "scale_type")) {
    At([&] { return PlaceOf(yaml, "scale_type"); },
       [&] {
         scheme.scale_type = ScaleTypeFrom(keys.scale_type);
         if (!HasByteScales(scheme.type)) return;
         ThrowExpected(StrCat("no scale_type with type ", NameOf(scheme.type)), keys.scale_type,
                       "the format defines its own scales");
       });
  }

  if (keys.second_level) scheme.second_level = keys.second_level->level;
  At([&] { return yaml.place(); }, [&] { scheme.Validate(); });
  return scheme;
}

namespace {

// Type, bits and zero points of activations or of a part of the cache.
void SetValueScheme(const Yaml& yaml, const SchemeKeys& keys, Scheme& scheme) {
  if (Says(yaml, "type")) {
    At([&] { return PlaceOf(yaml, "type"); }, [&] { SetType(keys.type, scheme); });
  }
  if (!yaml.IsMap()) return;
  if (keys.bits) {
    const bool is_integer = scheme.type == NumberType::kInteger;
    SetBits(yaml, *keys.bits, is_integer ? "" : NameOf(scheme.type), scheme);
  }
  SetZeroPoint(yaml, keys, scheme);
}

void SetStaticRange(const Yaml& yaml, const ActivationKeys& keys, ActivationPlan& plan) {
  if (plan.scheme.dynamic && (keys.range || keys.percentile)) {
    ThrowBadInput(PlaceOf(yaml, keys.range ? "range" : "percentile"),
                  "a static range with granularity: tensor only", NameOf(plan.scheme.granularity));
  }

  // The choice of a range, and a percentile only with the choice that uses it.
  if (keys.range) plan.range = *keys.range;
  if (!keys.percentile) return;
  if (plan.range != RangeChoice::kPercentile) {
    ThrowBadInput(PlaceOf(yaml, "percentile"), "percentile with range: percentile",
                  "another range");
  }
  plan.percentile = *keys.percentile;
}

// A format brings its group size and granularity; integers are per token unless the keys ask
// otherwise.
void SetActivationGroups(const ActivationKeys& keys, Scheme& scheme) {
  scheme.group_size = scheme.type == NumberType::kInteger ? 0 : GroupSizeOfFormat(scheme.type);
  scheme.granularity = scheme.group_size > 0 ? Granularity::kGroup : Granularity::kToken;
  SetGroups(keys, scheme);
  scheme.dynamic = scheme.granularity != Granularity::kTensor;
}

// One part of the cache. `group_tokens` receives the number of tokens of a group; null for values,
// which have no such groups.
KvPart ParseKvPart(const Yaml& yaml, KvPart part, int* group_tokens) {
  const auto keys = KeysFrom<KvKeys>(yaml);
  SetValueScheme(yaml, keys, part.scheme);
  part.scheme.granularity = Granularity::kToken;  // KvPart has a granularity that replaces this one
  part.scheme.group_size = 0;
  if (keys.kv_granularity) part.granularity = *keys.kv_granularity;

  if (group_tokens == nullptr) {
    if (keys.group_tokens) {
      ThrowBadInput(PlaceOf(yaml, "group_tokens"), "group_tokens of keys only", "of values");
    }
    return part;
  }

  if (!yaml.IsMap()) return part;
  constexpr int kDefaultGroupTokens = 32;
  *group_tokens = part.granularity == KvGranularity::kChannel ? kDefaultGroupTokens : 0;
  if (keys.group_tokens) {
    *group_tokens = static_cast<int>(std::clamp<int64_t>(*keys.group_tokens, 0, 1 << 20));
  }
  return part;
}

bool IsNone(const Yaml& yaml) {
  return yaml.kind() == Yaml::Kind::kScalar && yaml.AsString() == "none";
}

}  // namespace

ParsedActivations ParseActivations(const Yaml& yaml) {
  ParsedActivations parsed;
  if (IsNone(yaml)) return parsed;
  auto keys = KeysFrom<ActivationKeys>(yaml);

  // The checks of each step rely on the steps before it.
  ActivationPlan plan{DefaultActivationScheme()};
  SetValueScheme(yaml, keys, plan.scheme);
  plan.scheme.scale_type = DType::kF32;
  SetActivationGroups(keys, plan.scheme);
  SetStaticRange(yaml, keys, plan);
  At([&] { return yaml.place(); }, [&] { ValidateActivationScheme(plan.scheme); });

  parsed.plan = plan;
  parsed.skip = std::move(keys.skip);
  return parsed;
}

std::optional<KvCacheScheme> ParseKvCache(const Yaml& yaml) {
  if (IsNone(yaml)) return std::nullopt;
  // The defaults of both parts: 8 bits, asymmetric over the plain range.
  KvPart part;
  part.scheme.bits = 8;
  part.scheme.granularity = Granularity::kToken;
  part.scheme.range_includes_zero = false;

  KvCacheScheme scheme;
  if (yaml.IsMap() && (yaml.Find("keys") != nullptr || yaml.Find("values") != nullptr)) {
    yaml.RequireKnownKeys(std::array<std::string, 2>{"keys", "values"});
    scheme.keys = ParseKvPart(yaml.Get("keys"), part, &scheme.key_group_tokens);
    scheme.values = ParseKvPart(yaml.Get("values"), part, nullptr);
  } else {
    scheme.keys = scheme.values = ParseKvPart(yaml, part, &scheme.key_group_tokens);
  }
  At([&] { return yaml.place(); }, [&] { scheme.Validate(); });
  return scheme;
}

namespace {

// Keys or values of the cache in canonical recipes.
struct RecipeKvPart {
  const KvPart& part;
  int group_tokens;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    Scheme::CodeFields(visit, self.part.scheme);
    Scheme::ZeroPointFields(visit, self.part.scheme);
    visit("granularity", self.part.granularity);
    visit("group_tokens", self.group_tokens, {.is_written = self.group_tokens > 0});
  }
};

}  // namespace

Json RecipeJson(const KvCacheScheme& scheme) {
  return Json{{"keys", FieldsJson(RecipeKvPart{scheme.keys, scheme.key_group_tokens})},
              {"values", FieldsJson(RecipeKvPart{scheme.values, 0})}};
}

Json RecipeJson(const std::optional<ActivationPlan>& plan) {
  return plan ? FieldsJson(*plan) : Json("none");
}

}  // namespace qualm
