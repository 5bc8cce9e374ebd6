// The small steps that planning and running must take alike.
#pragma once

#include <string>

#include "recipe/recipe.h"
#include "tasks/task.h"

namespace qualm {

// A recipe with the study's order in place of its own, where that has one.
Recipe OrderedRecipe(const std::string& name_or_path, const std::string& order);

// Leaves the task only the subsets of one of its categories, or one subset of that name; the
// variant says so. Empty: all stays. Throws bad input with the nearest name.
void SelectCategory(Task& task, const std::string& category, std::string_view place);

}  // namespace qualm
