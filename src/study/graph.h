// A study as a graph of stages. Every stage is named by a hash of all inputs that decide its result
// (model files, recipe, calibration tokens' origin, seed, task and data, instruction set, qualm's
// numeric version), so a finished stage is never done again and equal stages serve several studies.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/json.h"
#include "study/spec.h"

namespace qualm {

class Progress;

// Raised whenever equal inputs give other numbers than before: results of another one are not
// reused.
inline constexpr int kNumericVersion = 1;

enum class StageKind : uint8_t { kCalibrate, kQuantize, kEvaluate, kMeasure };
std::string_view StageKindName(StageKind kind);
StageKind StageKindFromName(std::string_view name, std::string_view place);

struct Stage {
  std::string key;  // 32 hex digits
  StageKind kind = StageKind::kCalibrate;
  std::string label;               // "quantize gptq-w4-g64 stories seed 0"
  std::string group;               // stages of one group share what one process loads or computes
  std::vector<std::string> needs;  // keys
  Json inputs;                     // what the stage reads: see stage_run.cc
  double seconds = 0;              // estimates
  uint64_t memory_bytes = 0, disk_bytes = 0;
};

// One place of the study's table. Stage keys: `evaluate` answers the test.
struct StudyCell {
  std::string model, recipe,
      calibration;  // recipe "float": the model itself; calibration "-": none
  uint64_t seed = 0;
  std::string test;
  Relation relation = Relation::kNone;
  std::string calibrate, quantize, evaluate, measure;  // empty: there is none
};

struct StudyPlan {
  StudySpec spec;
  std::vector<std::string> model_paths;  // of spec.models, which are names now
  std::string data_folder, instruction_set, version;
  std::vector<Stage> stages;  // needs before those that need them
  std::vector<StudyCell> cells;
  std::vector<std::string> skipped;  // tests whose data is not at hand, with what is missing

  const Stage& Find(std::string_view key) const;
};

struct PlanOptions {
  std::vector<std::string> models;     // in place of the study's; NAME=FOLDER or FOLDER
  std::filesystem::path study_folder;  // relative paths are looked for here, too; may be empty
  std::filesystem::path data_folder;
  std::string version;  // of qualm
  bool skip_missing = false;
  double flops = 0;  // of this machine's float products, for estimates; 0: not known
};

// Reads models' and texts' hashes, loads no weights. Throws bad input for what would fail later: a
// model, recipe, text or task that is not there, a test without tokens, pairs that leave nothing.
StudyPlan MakeStudyPlan(const StudySpec& spec, const PlanOptions& options, Progress& progress);

Json ToJson(const StudyPlan& plan);
StudyPlan StudyPlanFromJson(const Json& json, std::string_view place);

}  // namespace qualm
