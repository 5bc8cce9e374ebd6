#include "quantize/builtin_recipes.h"

#include "base/strings.h"

namespace qualm {
namespace {

struct Choice {
  int bits;
  int group_size;  // 0: one group per output channel
  bool is_symmetric, act_order;
};

BuiltInRecipe Make(std::string_view rounder, const Choice& choice) {
  const std::string granularity =
      choice.group_size == 0 ? "channel" : StrCat("g", choice.group_size);
  BuiltInRecipe recipe;
  recipe.name = StrCat(rounder, "-w", choice.bits, "-", granularity,
                       choice.is_symmetric ? "-sym" : "", choice.act_order ? "-act" : "");
  recipe.summary = StrCat(
      rounder == "gptq" ? "GPTQ" : "round to nearest", ", ", choice.bits, " bits, ",
      choice.group_size == 0 ? "per output channel" : StrCat("groups of ", choice.group_size),
      choice.is_symmetric ? ", symmetric" : "",
      choice.act_order ? ", columns by activation, static groups" : "");
  const std::string group = choice.group_size == 0
                                ? "granularity: channel"
                                : StrCat("granularity: group, group_size: ", choice.group_size);
  recipe.yaml = StrCat(
      "name: ", recipe.name, "\nweights: {type: int", choice.bits, ", ", group,
      ", symmetric: ", choice.is_symmetric, ", scale_type: float16}\nrounder: ",
      choice.act_order ? "{gptq: {act_order: true, static_groups: true}}" : std::string(rounder),
      "\norder: {blocks: sequential, layers: sequential}\nskip: [lm_head]\n");
  return recipe;
}

std::vector<BuiltInRecipe> MakeAll() {
  std::vector<BuiltInRecipe> recipes;
  for (const char* rounder : {"gptq", "rtn"}) {
    for (int bits : {2, 3, 4, 8}) {
      for (int group_size : {0, 128, 64, 32}) {
        for (bool is_symmetric : {false, true}) {
          recipes.push_back(Make(rounder, {bits, group_size, is_symmetric, false}));
          if (std::string_view(rounder) != "gptq") continue;
          recipes.push_back(Make(rounder, {bits, group_size, is_symmetric, true}));
        }
      }
    }
  }
  return recipes;
}

}  // namespace

const std::vector<BuiltInRecipe>& BuiltInRecipes() {
  static const std::vector<BuiltInRecipe> recipes = MakeAll();
  return recipes;
}

const BuiltInRecipe* FindBuiltInRecipe(std::string_view name) {
  for (const BuiltInRecipe& recipe : BuiltInRecipes()) {
    if (recipe.name == name) return &recipe;
  }
  return nullptr;
}

}  // namespace qualm
