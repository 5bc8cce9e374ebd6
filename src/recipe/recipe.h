// A recipe: transforms, then one rounder, with a scheme per layer pattern. It is strict YAML or the
// name of a built-in recipe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/scheme.h"
#include "methods/rounders.h"
#include "methods/transforms.h"
#include "recipe/bit_allocation.h"
#include "recipe/recipe_schemes.h"

namespace qualm {

enum class Order { kSequential, kParallel };
EnumNames NamesOfEnum(Order);

// What happens to one linear layer.
struct LayerPlan {
  bool skip = false;
  bool has_own_scheme = false;  // an override's: no allocation changes it
  Scheme scheme;
  std::shared_ptr<const Rounder> rounder;  // shared: recipes are copied, rounders are immutable
  std::optional<ActivationPlan> activations;
};

// A parsed recipe. PlanFor tells what happens to a layer; the fields are for whoever prints or
// hashes it.
struct Recipe {
  std::string name;
  Order block_order = Order::kSequential;  // inputs of a block come from quantized blocks before it
  Order layer_order = Order::kSequential;  // the same inside a block
  Scheme weights;
  std::shared_ptr<const Rounder> rounder;
  std::optional<ActivationPlan> activations;
  std::vector<std::string> activation_skip;  // layers whose inputs stay float
  std::optional<KvCacheScheme> kv_cache;
  std::vector<std::shared_ptr<const Transform>> transforms;  // in this order
  std::optional<AllocationPlan> allocation;                  // bits per layer by a budget
  std::map<std::string, int>
      layer_bits;                 // the result of `allocation`; not part of the recipe's text
  std::vector<std::string> skip;  // glob patterns of full layer names
  struct Override {
    std::string match;
    bool has_weights = false;  // else they are the recipe's
    Scheme weights;
    std::shared_ptr<const Rounder> rounder;                    // null: the recipe's
    std::optional<std::optional<ActivationPlan>> activations;  // empty: the recipe's
  };
  std::vector<Override> overrides;  // the last match wins

  LayerPlan PlanFor(std::string_view layer_name) const;
  const RotationOptions* rotation() const;  // null: none
  bool NeedsCalibration() const;  // whether a rounder, a transform or a static range reads data
  // Everything that decides the result, defaults spelled out, keys in a fixed order.
  std::string CanonicalJson() const;
};

Recipe ParseRecipe(std::string_view yaml_text, std::string_view place);
// `name_or_path` is a built-in name or the path of a .yaml file. The error for an unknown name
// suggests the nearest one.
Recipe FindRecipe(const std::string& name_or_path);
std::vector<std::string> RecipeNames();
std::string RecipeSummary(std::string_view name);

}  // namespace qualm
