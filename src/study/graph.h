// A study as a graph of stages. Every stage is named by the hash of its inputs and of the files
// that it reads (stage.h), so a finished stage is never done again and equal stages serve several
// studies.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/input_set.h"
#include "io/json.h"
#include "study/spec.h"
#include "study/stage.h"

namespace qualm {

class Progress;

// One seed of a cell of the study's table.
struct CellRun {
  std::string model;
  std::string recipe;       // "float": the model itself
  std::string calibration;  // "-": none
  uint64_t seed = 0;
  std::string test;
  Relation relation = Relation::kNone;
  // Keys of stages; `evaluate` answers the test. Empty: there is none.
  std::string calibrate = {}, quantize = {}, evaluate = {}, measure = {};

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("model", self.model);
    visit("recipe", self.recipe);
    visit("calibration", self.calibration);
    visit("seed", self.seed, {.is_seed = true});
    visit("test", self.test);
    visit("relation", self.relation);
    visit("calibrate", self.calibrate);
    visit("quantize", self.quantize);
    visit("evaluate", self.evaluate);
    visit("measure", self.measure);
  }
};

struct StudyPlan {
  StudySpec spec;
  std::vector<std::string> model_paths;  // of spec.models, which are names now
  std::string data_folder, instruction_set, version;
  std::vector<Stage> stages;              // needs before those that need them
  std::map<std::string, InputSet> files;  // by their hash: what stages read
  std::vector<CellRun> cells;
  std::vector<std::string> skipped;  // tests whose data is not at hand, with what is missing

  const Stage& Find(std::string_view key) const;
  // Throws kFailed if one of the files that a stage has opened is not the one that was planned, and
  // for a set without files.
  void RequireUnchanged(const Stage& stage, InputSet& opened, std::string_view what) const;
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
