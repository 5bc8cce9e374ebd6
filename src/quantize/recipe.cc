#include "quantize/recipe.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "artefact/codebook.h"
#include "artefact/manifest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/json.h"
#include "io/yaml.h"
#include "quantize/builtin_recipes.h"

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

// The keys of `yaml` put over `scheme`.
Scheme ParseWeights(const Yaml& yaml, Scheme scheme) {
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
  if (const Yaml* second = yaml.Find("second_level"); second != nullptr) {
    ThrowBadInput(second->place(), "scales that are not quantized again", "second_level",
                  StrCat("none of the rounders does that: ", Join(RounderNames(), ", ")));
  }
  scheme.Validate(yaml.place());
  return scheme;
}

// "gptq" or {gptq: {damp: 0.05}}
std::shared_ptr<const Rounder> ParseRounder(const Yaml& yaml) {
  if (!yaml.IsMap()) return MakeRounder(yaml.AsString(), nullptr, yaml.place());
  const auto& entries = yaml.AsMap();
  if (entries.size() != 1) {
    ThrowBadInput(yaml.place(), "one rounder, such as {gptq: {act_order: true}}",
                  StrCat(entries.size()));
  }
  const auto& [name, options] = entries.front();
  return MakeRounder(name, options.kind() == Yaml::Kind::kNull ? nullptr : &options, yaml.place());
}

Order ParseOrder(const Yaml& map, std::string_view key) {
  const Yaml* yaml = map.Find(key);
  if (yaml == nullptr) return Order::kSequential;
  const std::string name = yaml->AsString();
  if (name == "sequential") return Order::kSequential;
  if (name == "parallel") return Order::kParallel;
  ThrowUnknownName(yaml->place(), "order", name,
                   std::array<std::string, 2>{"sequential", "parallel"});
}

std::string_view NameOf(Order order) {
  return order == Order::kSequential ? "sequential" : "parallel";
}

// What later versions will take and this one must not pass over in silence.
void RefuseActivationsAndTransforms(const Yaml& yaml) {
  if (const Yaml* activations = yaml.Find("activations")) {
    if (activations->kind() != Yaml::Kind::kScalar || activations->AsString() != "none") {
      ThrowBadInput(activations->place(), "activations: none", "a scheme for activations",
                    "this version quantizes weights only");
    }
  }
  if (const Yaml* transforms = yaml.Find("transforms")) {
    if (!transforms->AsList().empty()) {
      ThrowBadInput(transforms->place(), "an empty list of transforms",
                    StrCat(transforms->AsList().size()), "this version has none yet");
    }
  }
}

Recipe::Override ParseOverride(const Yaml& yaml, const Scheme& weights) {
  yaml.RequireKnownKeys(std::array<std::string, 3>{"match", "weights", "rounder"});
  Recipe::Override override;
  override.match = yaml.Get("match").AsString();
  const Yaml* scheme = yaml.Find("weights");
  override.weights = scheme == nullptr ? weights : ParseWeights(*scheme, weights);
  if (const Yaml* rounder = yaml.Find("rounder")) override.rounder = ParseRounder(*rounder);
  return override;
}

Json RounderJson(const Rounder& rounder) {
  return Json{{std::string(rounder.name()), ParseJson(rounder.OptionsJson(), "rounder options")}};
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace

LayerPlan Recipe::PlanFor(std::string_view layer_name) const {
  LayerPlan plan;
  plan.scheme = weights;
  plan.rounder = rounder;
  plan.skip = std::ranges::any_of(
      skip, [&](const std::string& pattern) { return MatchesGlob(layer_name, pattern); });
  for (const Override& override : overrides) {
    if (!MatchesGlob(layer_name, override.match)) continue;
    plan.scheme = override.weights;
    plan.rounder = override.rounder != nullptr ? override.rounder : rounder;
  }
  return plan;
}

bool Recipe::NeedsCalibration() const {
  return rounder->needs_gram() || std::ranges::any_of(overrides, [](const Override& override) {
           return override.rounder != nullptr && override.rounder->needs_gram();
         });
}

std::string Recipe::CanonicalJson() const {
  Json json{{"name", name},
            {"weights", ToJson(weights)},
            {"activations", "none"},
            {"transforms", Json::array()},
            {"rounder", RounderJson(*rounder)},
            {"order", Json{{"blocks", NameOf(block_order)}, {"layers", NameOf(layer_order)}}},
            {"skip", skip},
            {"overrides", Json::array()}};
  for (const Override& override : overrides) {
    Json item{{"match", override.match}, {"weights", ToJson(override.weights)}};
    if (override.rounder != nullptr) item["rounder"] = RounderJson(*override.rounder);
    json["overrides"].push_back(std::move(item));
  }
  return json.dump();
}

Recipe ParseRecipe(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  yaml.RequireKnownKeys(std::array<std::string, 8>{"name", "weights", "activations", "transforms",
                                                   "rounder", "order", "skip", "overrides"});
  Recipe recipe;
  const Yaml* name = yaml.Find("name");
  recipe.name = name != nullptr ? name->AsString() : std::filesystem::path(place).stem().string();
  recipe.weights = ParseWeights(yaml.Get("weights"), Scheme{});
  RefuseActivationsAndTransforms(yaml);
  recipe.rounder = ParseRounder(yaml.Get("rounder"));
  if (const Yaml* order = yaml.Find("order")) {
    order->RequireKnownKeys(std::array<std::string, 2>{"blocks", "layers"});
    recipe.block_order = ParseOrder(*order, "blocks");
    recipe.layer_order = ParseOrder(*order, "layers");
  }
  if (const Yaml* skip = yaml.Find("skip")) {
    for (const Yaml& pattern : skip->AsList()) recipe.skip.push_back(pattern.AsString());
  } else {
    recipe.skip = {"lm_head"};
  }
  if (const Yaml* overrides = yaml.Find("overrides")) {
    for (const Yaml& item : overrides->AsList()) {
      recipe.overrides.push_back(ParseOverride(item, recipe.weights));
    }
  }
  return recipe;
}

Recipe FindRecipe(const std::string& name_or_path) {
  if (const BuiltInRecipe* recipe = FindBuiltInRecipe(name_or_path)) {
    return ParseRecipe(recipe->yaml, recipe->name);
  }
  const bool is_path = name_or_path.find('/') != std::string::npos ||
                       name_or_path.ends_with(".yaml") || name_or_path.ends_with(".yml");
  if (is_path || IsFile(name_or_path)) {
    return ParseRecipe(ReadFile(name_or_path, uint64_t{1} << 20), name_or_path);
  }
  const std::string nearest = NearestName(name_or_path, RecipeNames());
  ThrowBadInput("--recipe", "a built-in recipe or a .yaml file", StrCat("'", name_or_path, "'"),
                StrCat(nearest.empty() ? "" : StrCat("did you mean '", nearest, "'? "),
                       "built in: {gptq,rtn}-w{2,3,4,5,6,8}-{channel,g128,g64,g32}[-sym], for gptq "
                       "also with -act; {gptq,rtn}-{fp8-e4m3-channel,fp8-e4m3-tensor,"
                       "fp8-e5m2-channel,nf4-g64,mxfp4,nvfp4}; hqq-w{2,3,4,8}-{g128,g64,g32}"));
}

std::vector<std::string> RecipeNames() {
  std::vector<std::string> names;
  for (const BuiltInRecipe& recipe : BuiltInRecipes()) names.push_back(recipe.name);
  return names;
}

std::string RecipeSummary(std::string_view name) {
  const BuiltInRecipe* recipe = FindBuiltInRecipe(name);
  QUALM_CHECK(recipe != nullptr);
  return recipe->summary;
}

}  // namespace qualm
