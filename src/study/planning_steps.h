// What a stage is told: the parts of a study's specification as JSON and back, and the small steps
// that planning and running must take alike.
#pragma once

#include <string>

#include "io/json.h"
#include "quantize/recipe.h"
#include "study/spec.h"
#include "tasks/task.h"

namespace qualm {

Json InputsOf(const CalibrationSpec& set, uint64_t seed);
CalibrationSpec CalibrationFromInputs(const Json& inputs, std::string_view place);

Json InputsOf(const TestSpec& test);
TestSpec TestFromInputs(const Json& inputs, std::string_view place);

// A recipe with the study's order in place of its own, where that has one.
Recipe OrderedRecipe(const std::string& name_or_path, const std::string& order);

// Leaves the task only the subsets of one of its categories, or one subset of that name; the
// variant says so. Empty: all stays. Throws bad input with the nearest name.
void SelectCategory(Task& task, const std::string& category, std::string_view place);

}  // namespace qualm
