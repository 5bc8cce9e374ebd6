#include "study/stage_inputs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_sets.h"

namespace qualm {
namespace {

Json ToJson(const About& about) {
  return {{"dataset", about.dataset},
          {"subject", about.subject},
          {"task", about.task},
          {"language", about.language}};
}

About AboutFromJson(const Json& json, std::string_view place) {
  const Json& about = GetChild(json, "about", place);
  return {GetString(about, "dataset", place), GetString(about, "subject", place),
          GetString(about, "task", place), GetString(about, "language", place)};
}

size_t SizeOf(const Json& json, std::string_view key, std::string_view place) {
  const int64_t value = GetInt(json, key, place);
  if (value < 0) ThrowBadInput(place, StrCat("'", key, "' of 0 or more"), StrCat(value));
  return static_cast<size_t>(value);
}

}  // namespace

Json InputsOf(const CalibrationSpec& set, uint64_t seed) {
  return {{"name", set.name},
          {"kind", static_cast<int>(set.kind)},
          {"corpus", set.corpus},
          {"text_field", set.text_field},
          {"task", set.task},
          {"split", set.split},
          {"category", set.category},
          {"mixed", set.mixed},
          {"temperature", set.temperature},
          {"sampler", set.sampler.sampler},
          {"samples", set.sampler.samples},
          {"length", set.sampler.length},
          {"held_out", set.sampler.held_out},
          {"again", set.again},
          {"is_control", set.is_control},
          {"about", ToJson(set.about)},
          {"seed", seed}};
}

CalibrationSpec CalibrationFromInputs(const Json& inputs, std::string_view place) {
  CalibrationSpec set;
  set.name = GetString(inputs, "name", place);
  set.kind = static_cast<CalibrationKind>(GetIntIn(inputs, "kind", place, 0, 4));
  set.corpus = GetString(inputs, "corpus", place);
  set.text_field = GetString(inputs, "text_field", place);
  set.task = GetString(inputs, "task", place);
  set.split = GetString(inputs, "split", place);
  set.category = GetString(inputs, "category", place);
  for (const Json& name : GetChild(inputs, "mixed", place)) {
    if (!name.is_string()) ThrowBadInput(place, "names in 'mixed'", name.type_name());
    set.mixed.push_back(name);
  }
  set.temperature = GetDouble(inputs, "temperature", place);
  set.sampler.sampler = GetString(inputs, "sampler", place);
  set.sampler.samples = SizeOf(inputs, "samples", place);
  set.sampler.length = SizeOf(inputs, "length", place);
  set.sampler.held_out = SizeOf(inputs, "held_out", place);
  set.sampler.seed = SizeOf(inputs, "seed", place);
  set.again = GetString(inputs, "again", place);
  set.is_control = GetBool(inputs, "is_control", place, false);
  set.about = AboutFromJson(inputs, place);
  return set;
}

Json InputsOf(const TestSpec& test) {
  Json json = {
      {"name", test.name},         {"corpus", test.corpus}, {"text_field", test.text_field},
      {"protocol", test.protocol}, {"seqlen", test.seqlen}, {"task", test.task},
      {"category", test.category}, {"limit", test.limit},   {"about", ToJson(test.about)}};
  if (test.shots) json["shots"] = *test.shots;
  return json;
}

TestSpec TestFromInputs(const Json& inputs, std::string_view place) {
  TestSpec test;
  test.name = GetString(inputs, "name", place);
  test.corpus = GetString(inputs, "corpus", place);
  test.text_field = GetString(inputs, "text_field", place);
  test.protocol = GetString(inputs, "protocol", place);
  test.seqlen = SizeOf(inputs, "seqlen", place);
  test.task = GetString(inputs, "task", place);
  test.category = GetString(inputs, "category", place);
  test.limit = SizeOf(inputs, "limit", place);
  if (inputs.contains("shots")) test.shots = SizeOf(inputs, "shots", place);
  test.about = AboutFromJson(inputs, place);
  return test;
}

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
