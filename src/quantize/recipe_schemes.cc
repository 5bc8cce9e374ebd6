// The schemes of a recipe, from YAML: each key is put over the scheme that was there, then what the
// keys mean together is checked, with the line of the key that does not fit.
#include "quantize/recipe_schemes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "artefact/codebook.h"
#include "base/error.h"
#include "base/strings.h"
#include "io/json_fields.h"
#include "quantize/rounders.h"

namespace qualm {
namespace {

constexpr int kFewestBits = 2, kMostBits = 8;

int ParseBits(const Yaml& yaml) {
  const int64_t bits = yaml.AsInt();
  if (bits < kFewestBits || bits > kMostBits) {
    ThrowBadInput(yaml.place(), StrCat("bits in ", kFewestBits, "..", kMostBits), StrCat(bits));
  }
  return static_cast<int>(bits);
}

constexpr NumberType kFormats[] = {NumberType::kNf4,         NumberType::kFp8E4m3,
                                   NumberType::kFp8E4m3Ieee, NumberType::kFp8E5m2,
                                   NumberType::kMxfp4,       NumberType::kNvfp4};

// "int4", "int" beside `bits`, or "nf4" and the like; the bits of the name, if any, go to the
// scheme.
void ParseType(const Yaml& yaml, Scheme& scheme) {
  const std::string name = yaml.AsString();
  const DType scale_type = scheme.scale_type;
  for (NumberType format : kFormats) {
    if (name != NameOf(format)) continue;
    scheme = SchemeOfFormat(format);
    scheme.scale_type = scale_type;
    return;
  }
  if (scheme.type != NumberType::kInteger) {  // nothing else of the format is left
    scheme = Scheme{};
    scheme.scale_type = scale_type;
  }
  if (name == "int") return;
  int bits = 0;
  const char* end = name.data() + name.size();
  if (name.starts_with("int") && name.size() == 4) {
    std::from_chars(name.data() + 3, end, bits);
  }
  if (bits >= kFewestBits && bits <= kMostBits) {
    scheme.bits = bits;
    return;
  }
  std::vector<std::string> known;
  for (int i = kFewestBits; i <= kMostBits; ++i) known.push_back(StrCat("int", i));
  for (NumberType format : kFormats) known.emplace_back(NameOf(format));
  ThrowUnknownName(yaml.place(), "weight type", name, known);
}

DType ParseScaleType(const Yaml& yaml) {
  static constexpr std::pair<const char*, DType> kTypes[] = {
      {"float16", DType::kF16}, {"bfloat16", DType::kBF16}, {"float32", DType::kF32}};
  const std::string name = yaml.AsString();
  std::vector<std::string> known;
  for (const auto& [spelling, type] : kTypes) {
    if (name == spelling || name == NameOf(type)) return type;
    known.emplace_back(spelling);
  }
  ThrowUnknownName(yaml.place(), "scale_type", name, known);
}

void ParseGranularity(const Yaml& yaml, Scheme& scheme) {
  const Yaml* granularity = yaml.Find("granularity");
  const Yaml* group_size = yaml.Find("group_size");
  if (granularity != nullptr) {
    scheme.granularity = GranularityFromName(granularity->AsString(), granularity->place());
    if (scheme.granularity == Granularity::kToken) {
      ThrowBadInput(granularity->place(), "granularity tensor, channel or group for weights",
                    "token");
    }
    if (scheme.granularity != Granularity::kGroup) scheme.group_size = 0;
  } else if (group_size != nullptr) {
    scheme.granularity = Granularity::kGroup;
  }
  if (group_size == nullptr) return;
  const int64_t size = group_size->AsInt();
  // Scheme::Validate knows the bound; this is only about what an int holds.
  scheme.group_size = static_cast<int>(std::clamp<int64_t>(size, -(1 << 30), 1 << 30));
  scheme.Validate(group_size->place());
}

void ParseZeroPoint(const Yaml& yaml, Scheme& scheme) {
  if (const Yaml* symmetric = yaml.Find("symmetric")) {
    scheme.zero_point = symmetric->AsBool() ? ZeroPointKind::kNone : ZeroPointKind::kInteger;
  }
  if (const Yaml* kind = yaml.Find("zero_point")) {
    const bool is_said_twice = yaml.Find("symmetric") != nullptr;
    const bool was_symmetric = scheme.is_symmetric();
    scheme.zero_point = ZeroPointKindFromName(kind->AsString(), kind->place());
    if (is_said_twice && was_symmetric != scheme.is_symmetric()) {
      ThrowBadInput(kind->place(),
                    was_symmetric ? "zero_point: none with symmetric: true"
                                  : "zero_point: integer or float with symmetric: false",
                    NameOf(scheme.zero_point), "symmetric means zero_point: none");
    }
  }
  const Yaml* convention = yaml.Find("symmetric_convention");
  const Yaml* includes_zero = yaml.Find("range_includes_zero");
  if (scheme.type != NumberType::kInteger) {
    for (const Yaml* key : {convention, includes_zero}) {
      if (key == nullptr) continue;
      ThrowBadInput(key->place(), StrCat("no such key with type ", NameOf(scheme.type)), "one",
                    "it is about integers");
    }
    return;  // Scheme::Validate refuses zero points
  }
  if (scheme.is_symmetric()) {
    if (includes_zero != nullptr) {
      ThrowBadInput(includes_zero->place(), "range_includes_zero in asymmetric schemes only",
                    "a symmetric one");
    }
    scheme.range_includes_zero = Scheme{}.range_includes_zero;
  } else if (convention != nullptr) {
    ThrowBadInput(convention->place(), "symmetric_convention in symmetric schemes only",
                  "an asymmetric one");
  } else {
    scheme.symmetric_convention = Scheme{}.symmetric_convention;
  }
  if (convention != nullptr) {
    scheme.symmetric_convention =
        SymmetricConventionFromName(convention->AsString(), convention->place());
  }
  if (includes_zero != nullptr) scheme.range_includes_zero = includes_zero->AsBool();
}

}  // namespace

Scheme ParseWeightScheme(const Yaml& yaml, Scheme scheme) {
  yaml.RequireKnownKeys(std::array<std::string, 10>{
      "type", "bits", "granularity", "group_size", "symmetric", "symmetric_convention",
      "zero_point", "scale_type", "range_includes_zero", "second_level"});
  const Yaml* type = yaml.Find("type");
  const Yaml* bits = yaml.Find("bits");
  if (type != nullptr) ParseType(*type, scheme);
  if (bits != nullptr) {
    const int value = ParseBits(*bits);
    if (type != nullptr && type->AsString() != "int" && value != scheme.bits) {
      ThrowBadInput(bits->place(), StrCat("bits ", scheme.bits, " with type ", type->AsString()),
                    StrCat(value));
    }
    scheme.bits = value;
  } else if (type != nullptr && type->AsString() == "int") {
    ThrowBadInput(type->place(), "bits beside type int", "none", "or a type such as int4");
  }
  ParseGranularity(yaml, scheme);
  ParseZeroPoint(yaml, scheme);
  if (const Yaml* scale_type = yaml.Find("scale_type")) {
    scheme.scale_type = ParseScaleType(*scale_type);
    if (HasByteScales(scheme.type)) {
      ThrowBadInput(scale_type->place(), StrCat("no scale_type with type ", NameOf(scheme.type)),
                    scale_type->AsString(), "the format has scales of its own");
    }
  }
  if (const Yaml* second = yaml.Find("second_level")) {
    second->RequireKnownKeys(std::array<std::string, 2>{"bits", "group_rows"});
    scheme.second_level = SecondLevel{
        static_cast<int>(IntOption(second, "bits", SecondLevel{}.bits, 1, 8)),
        static_cast<int>(IntOption(second, "group_rows", SecondLevel{}.group_rows, 1, 16))};
  }
  scheme.Validate(yaml.place());
  return scheme;
}

namespace {

// Type, bits and zero points of activations or of a part of the cache: `yaml` is a map or the name
// of a type alone. The other keys of the map are the caller's.
Scheme ParseValueScheme(const Yaml& yaml, Scheme scheme) {
  if (!yaml.IsMap()) {
    ParseType(yaml, scheme);
    return scheme;
  }
  if (const Yaml* type = yaml.Find("type")) ParseType(*type, scheme);
  if (const Yaml* bits = yaml.Find("bits")) {
    const int value = ParseBits(*bits);
    if (scheme.type != NumberType::kInteger && value != scheme.bits) {
      ThrowBadInput(bits->place(), StrCat("bits ", scheme.bits, " with type ", NameOf(scheme.type)),
                    StrCat(value));
    }
    scheme.bits = value;
  }
  ParseZeroPoint(yaml, scheme);
  return scheme;
}

void ParseStaticRange(const Yaml& yaml, ActivationPlan& plan) {
  const Yaml* range = yaml.Find("range");
  const Yaml* percentile = yaml.Find("percentile");
  for (const Yaml* key : {range, percentile}) {
    if (key == nullptr || !plan.scheme.dynamic) continue;
    ThrowBadInput(key->place(), "a static range with granularity: tensor only",
                  NameOf(plan.scheme.granularity));
  }
  if (range != nullptr) {
    plan.range = EnumFromName<RangeChoice>(range->AsString(), range->place());
  }
  if (percentile == nullptr) return;
  if (plan.range != RangeChoice::kPercentile) {
    ThrowBadInput(percentile->place(), "percentile with range: percentile", "another range");
  }
  plan.percentile = percentile->AsDouble();
  if (!(plan.percentile > 50 && plan.percentile <= 100)) {
    ThrowBadInput(percentile->place(), "a percentile above 50 and up to 100",
                  StrCat(plan.percentile));
  }
}

Scheme DefaultActivations() {
  Scheme scheme;
  scheme.bits = 8;
  scheme.granularity = Granularity::kToken;
  scheme.zero_point = ZeroPointKind::kNone;
  scheme.symmetric_convention = SymmetricConvention::kSigned;
  scheme.scale_type = DType::kF32;  // found at run time, or one number in the manifest
  scheme.dynamic = true;
  return scheme;
}

// A format's scheme has groups and a granularity of its own; activations ask for theirs.
void SetGranularity(const Yaml& yaml, Scheme& scheme) {
  const int format_size = scheme.type == NumberType::kInteger ? 0 : GroupSizeOfFormat(scheme.type);
  scheme.granularity = format_size > 0 ? Granularity::kGroup : Granularity::kToken;
  scheme.group_size = format_size;
  if (yaml.IsMap()) {
    const Yaml* granularity = yaml.Find("granularity");
    const Yaml* group_size = yaml.Find("group_size");
    if (granularity != nullptr) {
      scheme.granularity = GranularityFromName(granularity->AsString(), granularity->place());
      if (scheme.granularity != Granularity::kGroup) scheme.group_size = 0;
    } else if (group_size != nullptr) {
      scheme.granularity = Granularity::kGroup;
    }
    if (group_size != nullptr) {
      scheme.group_size =
          static_cast<int>(std::clamp<int64_t>(group_size->AsInt(), -(1 << 30), 1 << 30));
    }
  }
  scheme.dynamic = scheme.granularity != Granularity::kTensor;
}

KvPart ParseKvPart(const Yaml& yaml, KvPart part, int* group_tokens) {
  if (yaml.IsMap()) {
    yaml.RequireKnownKeys(std::array<std::string, 8>{"type", "bits", "granularity", "group_tokens",
                                                     "symmetric", "symmetric_convention",
                                                     "zero_point", "range_includes_zero"});
  }
  part.scheme = ParseValueScheme(yaml, part.scheme);
  part.scheme.granularity = Granularity::kToken;  // not read: KvPart has its own
  part.scheme.group_size = 0;
  if (!yaml.IsMap()) return part;
  if (const Yaml* granularity = yaml.Find("granularity")) {
    part.granularity = KvGranularityFromName(granularity->AsString(), granularity->place());
  }
  const Yaml* tokens = yaml.Find("group_tokens");
  if (group_tokens == nullptr) {
    if (tokens != nullptr) {
      ThrowBadInput(tokens->place(), "group_tokens of keys only", "of values");
    }
    return part;
  }
  constexpr int kDefaultGroupTokens = 32;
  *group_tokens = part.granularity == KvGranularity::kChannel ? kDefaultGroupTokens : 0;
  if (tokens != nullptr) {
    *group_tokens = static_cast<int>(std::clamp<int64_t>(tokens->AsInt(), 0, 1 << 20));
  }
  return part;
}

}  // namespace

ParsedActivations ParseActivations(const Yaml& yaml) {
  ParsedActivations parsed;
  if (yaml.kind() == Yaml::Kind::kScalar && yaml.AsString() == "none") return parsed;
  if (yaml.IsMap()) {
    yaml.RequireKnownKeys(std::array<std::string, 11>{
        "type", "bits", "granularity", "group_size", "symmetric", "symmetric_convention",
        "zero_point", "range_includes_zero", "range", "percentile", "skip"});
  }
  ActivationPlan plan{ParseValueScheme(yaml, DefaultActivations())};
  plan.scheme.scale_type = DType::kF32;
  SetGranularity(yaml, plan.scheme);
  if (yaml.IsMap()) {
    ParseStaticRange(yaml, plan);
    if (const Yaml* skip = yaml.Find("skip")) {
      for (const Yaml& pattern : skip->AsList()) parsed.skip.push_back(pattern.AsString());
    }
  }
  ValidateActivationScheme(plan.scheme, yaml.place());
  parsed.plan = plan;
  return parsed;
}

std::optional<KvCacheScheme> ParseKvCache(const Yaml& yaml) {
  if (yaml.kind() == Yaml::Kind::kScalar && yaml.AsString() == "none") return std::nullopt;
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
  scheme.Validate(yaml.place());
  return scheme;
}

namespace {

// Keys or values of the cache as canonical recipes have them.
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

EnumNames NamesOfEnum(RangeChoice) {
  static constexpr std::array<std::string_view, 3> kNames = {"min_max", "percentile", "mse"};
  return {"range", kNames};
}

Json RecipeJson(const KvCacheScheme& scheme) {
  return Json{{"keys", FieldsJson(RecipeKvPart{scheme.keys, scheme.key_group_tokens})},
              {"values", FieldsJson(RecipeKvPart{scheme.values, 0})}};
}

Json RecipeJson(const std::optional<ActivationPlan>& plan) {
  return plan ? FieldsJson(*plan) : Json("none");
}

}  // namespace qualm
