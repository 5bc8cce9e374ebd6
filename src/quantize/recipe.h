// A recipe: transforms, then one rounder, with a scheme per layer pattern (DESIGN, section 2).
// Strict YAML or the name of a built-in one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/scheme.h"
#include "quantize/bit_allocation.h"
#include "quantize/recipe_schemes.h"
#include "quantize/rounders.h"
#include "quantize/transforms.h"

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

struct Recipe {
  std::string name;
  Order block_order = Order::kSequential;  // inputs of a block come from quantized blocks before it
  Order layer_order = Order::kSequential;  // likewise inside a block
  Scheme weights;
  std::shared_ptr<const Rounder> rounder;
  std::optional<ActivationPlan> activations;
  std::vector<std::string> activation_skip;  // layers whose inputs stay float
  std::optional<KvCacheScheme> kv_cache;
  std::vector<std::shared_ptr<const Transform>> transforms;  // in the order they are made
  std::optional<AllocationPlan> allocation;                  // bits per layer by a budget
  std::map<std::string, int> layer_bits;  // what came of it; no part of the recipe's text
  std::vector<std::string> skip;          // glob patterns of full layer names
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
  bool NeedsCalibration() const;            // a rounder, a transform or a static range reads data
  // Everything that decides the result, defaults spelled out, keys in a fixed order.
  std::string CanonicalJson() const;
};

Recipe ParseRecipe(std::string_view yaml_text, std::string_view place);
// A built-in name or a path of a .yaml file. Unknown names are answered with the nearest one.
Recipe FindRecipe(const std::string& name_or_path);
std::vector<std::string> RecipeNames();
std::string RecipeSummary(std::string_view name);

}  // namespace qualm
