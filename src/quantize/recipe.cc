// Recipes: strict YAML comes in, a Recipe goes out; and its canonical text, which hashes and
// manifests are made of. Parts that are plain structs state their fields (io/fields.h).
#include "quantize/recipe.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/json_fields.h"
#include "io/yaml.h"
#include "quantize/builtin_recipes.h"
#include "quantize/recipe_schemes.h"

namespace qualm {
namespace {

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

// "smoothquant" or {smoothquant: {alpha: 0.8}}
std::shared_ptr<const Transform> ParseTransform(const Yaml& yaml) {
  if (!yaml.IsMap()) return MakeTransform(yaml.AsString(), nullptr, yaml.place());
  const auto& entries = yaml.AsMap();
  if (entries.size() != 1) {
    ThrowBadInput(yaml.place(), "one transform, such as {smoothquant: {alpha: 0.5}}",
                  StrCat(entries.size()), "a list item for each");
  }
  const auto& [name, options] = entries.front();
  return MakeTransform(name, options.kind() == Yaml::Kind::kNull ? nullptr : &options,
                       yaml.place());
}

// The key `order`.
struct OrderKeys {
  Order blocks = Order::kSequential, layers = Order::kSequential;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("blocks", self.blocks);
    visit("layers", self.layers);
  }
};

// A budget is kept only by rounders that store what the scheme says and no more.
void CheckAllocation(const Yaml& place, const Recipe& recipe) {
  const auto check = [&](const Rounder& rounder) {
    if (rounder.stores_scheme_only()) return;
    ThrowBadInput(place.place(), "a rounder that stores codes, scales and zero points only",
                  rounder.name(), "rtn, hqq, or gptq with static_groups");
  };
  check(*recipe.rounder);
  for (const Recipe::Override& override : recipe.overrides) {
    if (override.rounder != nullptr) check(*override.rounder);
  }
}

// Scales that are quantized again need a rounder that does so.
void CheckSecondLevel(const Yaml& weights, const Scheme& scheme, const Rounder& rounder) {
  if (!scheme.second_level || rounder.makes_second_level()) return;
  ThrowBadInput(weights.place(), "scales that are not quantized again", "second_level",
                StrCat("rounder ", rounder.name(), " does not do that; spqr does"));
}

Recipe::Override ParseOverride(const Yaml& yaml, const Scheme& weights) {
  yaml.RequireKnownKeys(std::array<std::string, 4>{"match", "weights", "rounder", "activations"});
  Recipe::Override override;
  override.match = yaml.Get("match").AsString();
  const Yaml* scheme = yaml.Find("weights");
  override.has_weights = scheme != nullptr;
  override.weights = scheme == nullptr ? weights : ParseWeightScheme(*scheme, weights);
  if (const Yaml* rounder = yaml.Find("rounder")) override.rounder = ParseRounder(*rounder);
  if (const Yaml* activations = yaml.Find("activations")) {
    override.activations = ParseActivations(*activations).plan;
  }
  return override;
}

void ReadTransforms(const Yaml& yaml, Recipe& recipe) {
  const Yaml* transforms = yaml.Find("transforms");
  if (transforms == nullptr) return;
  for (const Yaml& item : transforms->AsList()) {
    recipe.transforms.push_back(ParseTransform(item));
    if (recipe.transforms.back()->rotation() == nullptr || recipe.transforms.size() == 1) continue;
    ThrowBadInput(item.place(), "a change of the model's basis before all other transforms",
                  StrCat("it is number ", recipe.transforms.size()));
  }
}

void ReadOverrides(const Yaml& yaml, Recipe& recipe) {
  const Yaml* overrides = yaml.Find("overrides");
  if (overrides == nullptr) return;
  for (const Yaml& item : overrides->AsList()) {
    recipe.overrides.push_back(ParseOverride(item, recipe.weights));
    const Recipe::Override& override = recipe.overrides.back();
    CheckSecondLevel(item, override.weights,
                     override.rounder != nullptr ? *override.rounder : *recipe.rounder);
  }
}

Json RounderJson(const Rounder& rounder) {
  return Json{{std::string(rounder.name()), ParseJson(rounder.OptionsJson(), "rounder options")}};
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace

EnumNames NamesOfEnum(Order) {
  static constexpr std::array<std::string_view, 2> kNames = {"sequential", "parallel"};
  return {"order", kNames};
}

LayerPlan Recipe::PlanFor(std::string_view layer_name) const {
  LayerPlan plan;
  plan.scheme = weights;
  plan.rounder = rounder;
  plan.skip = std::ranges::any_of(
      skip, [&](const std::string& pattern) { return MatchesGlob(layer_name, pattern); });

  const bool stays_float = std::ranges::any_of(
      activation_skip, [&](const std::string& p) { return MatchesGlob(layer_name, p); });
  if (!stays_float) plan.activations = activations;

  // The last match replaces weights and rounder as a whole; activations only where it names them.
  for (const Override& override : overrides) {
    if (!MatchesGlob(layer_name, override.match)) continue;
    if (override.activations) plan.activations = *override.activations;
    plan.scheme = override.weights;
    plan.has_own_scheme = override.has_weights;
    plan.rounder = override.rounder != nullptr ? override.rounder : rounder;
  }

  const auto allocated = layer_bits.find(std::string(layer_name));
  if (allocated != layer_bits.end()) plan.scheme.bits = allocated->second;
  return plan;
}

const RotationOptions* Recipe::rotation() const {
  return transforms.empty() ? nullptr : transforms.front()->rotation();
}

bool Recipe::NeedsCalibration() const {
  const auto reads = [](const std::optional<ActivationPlan>& plan) {
    return plan && !plan->scheme.dynamic;
  };
  return allocation || rounder->needs_data() || reads(activations) ||
         std::ranges::any_of(transforms, [](const auto& t) { return t->needs_data(); }) ||
         std::ranges::any_of(overrides, [&](const Override& override) {
           return (override.rounder != nullptr && override.rounder->needs_data()) ||
                  (override.activations && reads(*override.activations));
         });
}

std::string Recipe::CanonicalJson() const {
  Json json{{"name", name},
            {"weights", FieldsJson(weights)},
            {"activations", RecipeJson(activations)},
            {"transforms", Json::array()},
            {"rounder", RounderJson(*rounder)},
            {"order", FieldsJson(OrderKeys{block_order, layer_order})},
            {"skip", skip},
            {"overrides", Json::array()}};
  // Parts that a recipe need not have; hashes of recipes without them must not change.
  if (activations) json["activations"]["skip"] = activation_skip;
  if (allocation) json["allocate"] = ParseJson(FieldsText(*allocation), "allocation");
  if (kv_cache) json["kv_cache"] = RecipeJson(*kv_cache);

  for (const auto& transform : transforms) {
    json["transforms"].push_back(Json{{std::string(transform->name()),
                                       ParseJson(transform->OptionsJson(), "transform options")}});
  }
  for (const Override& override : overrides) {
    Json item{{"match", override.match}};
    if (override.has_weights) item["weights"] = FieldsJson(override.weights);
    if (override.rounder != nullptr) item["rounder"] = RounderJson(*override.rounder);
    if (override.activations) item["activations"] = RecipeJson(*override.activations);
    json["overrides"].push_back(std::move(item));
  }
  return json.dump();
}

Recipe ParseRecipe(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  yaml.RequireKnownKeys(std::array<std::string, 10>{"name", "weights", "allocate", "activations",
                                                    "kv_cache", "transforms", "rounder", "order",
                                                    "skip", "overrides"});

  Recipe recipe;
  const Yaml* name = yaml.Find("name");
  recipe.name = name != nullptr ? name->AsString() : std::filesystem::path(place).stem().string();
  recipe.weights = ParseWeightScheme(yaml.Get("weights"), Scheme{});
  if (const Yaml* allocation = yaml.Find("allocate")) {
    if (recipe.weights.type != NumberType::kInteger || recipe.weights.second_level) {
      ThrowBadInput(allocation->place(), "integer weights with scales of one level",
                    recipe.weights.ShortName(), "bits are what is allocated");
    }
    recipe.allocation = ParseAllocation(*allocation);
  }
  if (const Yaml* activations = yaml.Find("activations")) {
    ParsedActivations parsed = ParseActivations(*activations);
    recipe.activations = parsed.plan;
    recipe.activation_skip = std::move(parsed.skip);
  }
  if (const Yaml* kv_cache = yaml.Find("kv_cache")) recipe.kv_cache = ParseKvCache(*kv_cache);

  ReadTransforms(yaml, recipe);
  recipe.rounder = ParseRounder(yaml.Get("rounder"));
  CheckSecondLevel(yaml.Get("weights"), recipe.weights, *recipe.rounder);

  const OrderKeys order = OptionsFrom<OrderKeys>(yaml.Find("order"));
  recipe.block_order = order.blocks;
  recipe.layer_order = order.layers;
  if (const Yaml* skip = yaml.Find("skip")) {
    for (const Yaml& pattern : skip->AsList()) recipe.skip.push_back(pattern.AsString());
  } else {
    recipe.skip = {"lm_head"};
  }
  ReadOverrides(yaml, recipe);

  // Any rounder of the recipe may be used for a layer that the budget counts.
  if (recipe.allocation) CheckAllocation(yaml.Get("allocate"), recipe);
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
  ThrowBadInput(
      "--recipe", "a built-in recipe or a .yaml file", StrCat("'", name_or_path, "'"),
      StrCat(nearest.empty() ? "" : StrCat("did you mean '", nearest, "'? "),
             "built in: {gptq,rtn}-w{2,3,4,5,6,8}-{channel,g128,g64,g32}[-sym], for gptq "
             "also with -act; {gptq,rtn}-{fp8-e4m3-channel,fp8-e4m3-tensor,"
             "fp8-e5m2-channel,nf4-g64,mxfp4,nvfp4}; hqq-w{2,3,4,8}-{g128,g64,g32}; "
             "{awq,awq-gptq}-w{2,3,4}-{g128,g64,g32}; quip-w{2,3,4}[-hadamard]; and those of "
             "qualm list recipes"));
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
