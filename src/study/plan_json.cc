// A plan as a file: what the processes that run its stages and those that report on it read.
#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "io/json_fields.h"
#include "study/graph.h"

namespace qualm {
namespace {

constexpr int kPlanFormat = 2;

Json ToJson(const Stage& stage) {
  return {{"key", stage.key},
          {"kind", StageKindName(stage.kind())},
          {"label", stage.label},
          {"group", stage.group},
          {"needs", stage.needs},
          {"inputs", ToJson(stage.inputs)},
          {"files", stage.files},
          {"seconds", stage.seconds},
          {"memory_bytes", stage.memory_bytes},
          {"disk_bytes", stage.disk_bytes}};
}

std::vector<std::string> TextsOf(const Json& json, const char* key, std::string_view place) {
  std::vector<std::string> texts;
  for (const Json& one : GetChild(json, key, place)) {
    if (!one.is_string()) ThrowBadInput(place, StrCat("texts in '", key, "'"), one.type_name());
    texts.push_back(one);
  }
  return texts;
}

Stage StageFromJson(const Json& json, std::string_view place) {
  Stage stage;
  stage.key = GetString(json, "key", place);
  const bool is_hash = stage.key.size() == 32 &&
                       stage.key.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hash) ThrowBadInput(place, "keys of 32 hex digits", StrCat("'", stage.key, "'"));
  stage.label = GetString(json, "label", place);
  stage.group = GetString(json, "group", place);
  stage.needs = TextsOf(json, "needs", place);
  const StageKind kind = StageKindFromName(GetString(json, "kind", place), place);
  stage.inputs = StageInputsFromJson(kind, GetChild(json, "inputs", place), place);
  stage.files = GetString(json, "files", place);
  stage.seconds = GetDouble(json, "seconds", place);
  stage.memory_bytes = static_cast<uint64_t>(GetInt(json, "memory_bytes", place));
  stage.disk_bytes = static_cast<uint64_t>(GetInt(json, "disk_bytes", place));
  return stage;
}

Json ToJson(const StudyCell& cell) {
  return {{"model", cell.model},
          {"recipe", cell.recipe},
          {"calibration", cell.calibration},
          {"seed", cell.seed},
          {"test", cell.test},
          {"relation", RelationName(cell.relation)},
          {"calibrate", cell.calibrate},
          {"quantize", cell.quantize},
          {"evaluate", cell.evaluate},
          {"measure", cell.measure}};
}

StudyCell CellFromJson(const Json& json, std::string_view place) {
  return {.model = GetString(json, "model", place),
          .recipe = GetString(json, "recipe", place),
          .calibration = GetString(json, "calibration", place),
          .seed = static_cast<uint64_t>(GetInt(json, "seed", place)),
          .test = GetString(json, "test", place),
          .relation = RelationFromName(GetString(json, "relation", place), place),
          .calibrate = GetString(json, "calibrate", place),
          .quantize = GetString(json, "quantize", place),
          .evaluate = GetString(json, "evaluate", place),
          .measure = GetString(json, "measure", place)};
}

Json ToJson(const LocalText& text) { return {{"en", text.en}, {"zh", text.zh}}; }

LocalText LocalTextFromJson(const Json& json, const char* key, std::string_view place) {
  const Json& text = GetChild(json, key, place);
  return {GetString(text, "en", place), GetString(text, "zh", place)};
}

Json SpecToJson(const StudySpec& spec) {
  Json calibrations = Json::array(), tests = Json::array(), budgets = Json::array();
  for (const CalibrationSpec& set : spec.calibrations) calibrations.push_back(FieldsJson(set));
  for (const TestSpec& test : spec.tests) tests.push_back(FieldsJson(test));
  for (const Budget& budget : spec.budgets) {
    budgets.push_back({{"bits_per_weight", budget.bits_per_weight},
                       {"tokens_per_second", budget.tokens_per_second}});
  }
  return {{"name", spec.name},
          {"version", spec.version},
          {"title", ToJson(spec.title)},
          {"question", ToJson(spec.question)},
          {"models", spec.models},
          {"recipes", spec.recipes},
          {"order", spec.order},
          {"seeds", spec.seeds},
          {"calibrations", std::move(calibrations)},
          {"tests", std::move(tests)},
          {"loss", spec.task_loss == TaskLoss::kNll ? "nll" : "error"},
          {"budgets", std::move(budgets)},
          {"text", spec.text}};
}

StudySpec SpecFromJson(const Json& json, std::string_view place) {
  StudySpec spec;
  spec.name = GetString(json, "name", place);
  spec.version = static_cast<int>(GetInt(json, "version", place));
  spec.title = LocalTextFromJson(json, "title", place);
  spec.question = LocalTextFromJson(json, "question", place);
  spec.models = TextsOf(json, "models", place);
  spec.recipes = TextsOf(json, "recipes", place);
  spec.order = GetString(json, "order", place);
  spec.seeds = static_cast<size_t>(GetInt(json, "seeds", place));
  for (const Json& set : GetChild(json, "calibrations", place)) {
    spec.calibrations.push_back(FieldsFrom<CalibrationSpec>(set, place));
  }
  for (const Json& test : GetChild(json, "tests", place)) {
    spec.tests.push_back(FieldsFrom<TestSpec>(test, place));
  }
  spec.task_loss = GetString(json, "loss", place) == "nll" ? TaskLoss::kNll : TaskLoss::kError;
  for (const Json& budget : GetChild(json, "budgets", place)) {
    spec.budgets.push_back({GetDouble(budget, "bits_per_weight", place),
                            GetDouble(budget, "tokens_per_second", place)});
  }
  spec.text = GetString(json, "text", place);
  return spec;
}

}  // namespace

Json ToJson(const StudyPlan& plan) {
  Json stages = Json::array(), cells = Json::array(), files = Json::object();
  for (const auto& [hash, set] : plan.files) files[hash] = FieldsJson(set);
  for (const Stage& stage : plan.stages) stages.push_back(ToJson(stage));
  for (const StudyCell& cell : plan.cells) cells.push_back(ToJson(cell));
  return {{"format", kPlanFormat},
          {"study", SpecToJson(plan.spec)},
          {"model_paths", plan.model_paths},
          {"data_folder", plan.data_folder},
          {"instruction_set", plan.instruction_set},
          {"version", plan.version},
          {"skipped", plan.skipped},
          {"files", std::move(files)},
          {"stages", std::move(stages)},
          {"cells", std::move(cells)}};
}

StudyPlan StudyPlanFromJson(const Json& json, std::string_view place) {
  RequireObject(json,
                {"format", "study", "model_paths", "data_folder", "instruction_set", "version",
                 "skipped", "files", "stages", "cells"},
                place);
  if (const int64_t format = GetInt(json, "format", place); format != kPlanFormat) {
    ThrowBadInput(place, StrCat("a plan of format ", kPlanFormat), StrCat(format));
  }
  StudyPlan plan;
  plan.spec = SpecFromJson(GetChild(json, "study", place), place);
  plan.model_paths = TextsOf(json, "model_paths", place);
  plan.data_folder = GetString(json, "data_folder", place);
  plan.instruction_set = GetString(json, "instruction_set", place);
  plan.version = GetString(json, "version", place);
  plan.skipped = TextsOf(json, "skipped", place);
  for (const auto& [hash, set] : GetChild(json, "files", place).items()) {
    ReadFields(set, place, plan.files[hash]);
  }
  for (const Json& stage : GetChild(json, "stages", place)) {
    plan.stages.push_back(StageFromJson(stage, place));
  }
  for (const Json& cell : GetChild(json, "cells", place)) {
    plan.cells.push_back(CellFromJson(cell, place));
  }
  for (const Stage& stage : plan.stages) {
    for (const std::string& need : stage.needs) (void)plan.Find(need);
    if (!plan.files.contains(stage.files)) {
      ThrowBadInput(place, StrCat("the files of stage ", stage.label), "none");
    }
  }
  return plan;
}

}  // namespace qualm
