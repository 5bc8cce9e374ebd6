// A plan as a file. The processes that run its stages read it, and so do status and reports, so
// that all of them work on the same plan even if the study's YAML changes meanwhile.
#include "base/error.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "io/json_fields.h"
#include "study/graph.h"

namespace qualm {
namespace {

constexpr int kPlanFormat = 2;

// The kind is stored next to the inputs because it decides which struct they are.
Json ToJson(const Stage& stage) {
  Json json = FieldsJson(stage);
  json["kind"] = StageKindName(stage.kind());
  json["inputs"] = ToJson(stage.inputs);
  return json;
}

// Keys become file names in the work folder; anything but hex digits is refused.
Stage StageFromJson(const Json& json, std::string_view place) {
  Stage stage;
  std::vector<std::string> keys = KeysOf(stage);
  keys.insert(keys.end(), {"kind", "inputs"});
  RequireObject(json, keys, place);
  At(place, [&] {
    fields::JsonReader reader(json);
    Stage::Fields(reader, stage);
  });

  const bool is_hash = stage.key.size() == 32 &&
                       stage.key.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hash) ThrowBadInput(place, "keys of 32 hex digits", StrCat("'", stage.key, "'"));
  const StageKind kind = StageKindFromName(GetString(json, "kind", place), place);
  stage.inputs = StageInputsFromJson(kind, GetChild(json, "inputs", place), place);
  return stage;
}

// The format is checked before anything else, because a plan of another format has other keys.
void RequireFormat(const Json& json, std::string_view place) {
  RequireObject(json,
                {"format", "study", "model_paths", "data_folder", "instruction_set", "version",
                 "skipped", "files", "stages", "cells"},
                place);
  if (const int64_t format = GetInt(json, "format", place); format != kPlanFormat) {
    ThrowBadInput(place, StrCat("a plan of format ", kPlanFormat), StrCat(format));
  }
}

// A plan is only used if it is whole: every needed stage and every set of files is in it.
void CheckStages(const StudyPlan& plan, std::string_view place) {
  for (const Stage& stage : plan.stages) {
    for (const std::string& need : stage.needs) (void)plan.Find(need);
    if (!plan.files.contains(stage.files)) {
      ThrowBadInput(place, StrCat("the files of stage ", stage.label), "none");
    }
  }
}

}  // namespace

// Files are stored once under the hash of their set, which stages then refer to.
Json ToJson(const StudyPlan& plan) {
  Json stages = Json::array(), cells = Json::array(), files = Json::object();
  for (const Stage& stage : plan.stages) stages.push_back(ToJson(stage));
  for (const CellRun& cell : plan.cells) cells.push_back(FieldsJson(cell));
  for (const auto& [hash, set] : plan.files) files[hash] = FieldsJson(set);

  return {{"format", kPlanFormat},
          // The study itself, as it was read, so that its file is not needed again.
          {"study", FieldsJson(plan.spec)},
          {"model_paths", plan.model_paths},
          {"data_folder", plan.data_folder},
          {"instruction_set", plan.instruction_set},
          {"version", plan.version},
          {"skipped", plan.skipped},
          // What there is to do, and which answers the cells are.
          {"files", std::move(files)},
          {"stages", std::move(stages)},
          {"cells", std::move(cells)}};
}

StudyPlan StudyPlanFromJson(const Json& json, std::string_view place) {
  RequireFormat(json, place);
  StudyPlan plan;
  // What holds for the whole study.
  At(place, [&] { ReadFields(fields::ChildOf(json, "study"), plan.spec); });
  plan.data_folder = GetString(json, "data_folder", place);
  plan.instruction_set = GetString(json, "instruction_set", place);
  plan.version = GetString(json, "version", place);

  const auto read_texts = [&](const char* key, std::vector<std::string>& texts) {
    for (const Json& text : fields::ListOf(json, key)) {
      texts.push_back(fields::TextItem(text, key));
    }
  };
  At(place, [&] {
    read_texts("model_paths", plan.model_paths);
    read_texts("skipped", plan.skipped);
  });

  // Sets of files, stages and cells; CheckStages then looks at how they refer to one another.
  At(place, [&] {
    for (const auto& set : fields::ChildOf(json, "files").items()) {
      ReadFields(set.value(), plan.files[set.key()]);
    }
    for (const Json& cell : fields::ListOf(json, "cells")) {
      ReadFields(cell, plan.cells.emplace_back());
    }
  });
  for (const Json& stage :
       At(place, [&]() -> const Json& { return fields::ListOf(json, "stages"); })) {
    plan.stages.push_back(StageFromJson(stage, place));
  }
  CheckStages(plan, place);
  return plan;
}

}  // namespace qualm
