// Steps that planning and running a stage must do in the same way: giving a recipe the study's
// order, and narrowing a task to the category that a test asks for.
#include "study/planning_steps.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_sets.h"

namespace qualm {
Recipe OrderedRecipe(const std::string& name_or_path, const std::string& order) {
  Recipe recipe = FindRecipe(name_or_path);
  if (!order.empty()) {
    recipe.block_order = recipe.layer_order =
        order == "parallel" ? Order::kParallel : Order::kSequential;
  }
  return recipe;
}

void SelectCategory(Task& task, const std::string& category, std::string_view place) {
  if (category.empty()) return;
  // The name is that of a category of the task, or of one of the set's subsets.
  std::vector<std::string> known;
  for (const auto& [name, subsets] : task.categories) {
    known.push_back(name);
    if (name == category) task.subsets = subsets;
  }
  const RowSet& set = FindRowSet(task.data_set, place);
  const bool is_subset = std::ranges::find(set.subsets, category) != set.subsets.end();
  if (is_subset) task.subsets = {category};

  if (!is_subset && std::ranges::find(known, category) == known.end()) {
    known.insert(known.end(), set.subsets.begin(), set.subsets.end());
    ThrowUnknownName(place, "category", category, known);
  }

  task.variant += StrCat("[", category, "]");
}

}  // namespace qualm
