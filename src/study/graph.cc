#include "study/graph.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "evaluate/protocol.h"
#include "study/estimate.h"
#include "study/machine.h"
#include "study/planned_inputs.h"
#include "study/stage_inputs.h"
#include "tensor/isa.h"

namespace qualm {
namespace {

constexpr std::array<std::string_view, 4> kKindNames = {"calibrate", "quantize", "evaluate",
                                                        "measure"};

bool Fits(const std::vector<std::string>& patterns, std::string_view text) {
  return patterns.empty() || std::ranges::any_of(patterns, [&](const std::string& pattern) {
           return MatchesGlob(text, pattern);
         });
}

class Planner {
 public:
  Planner(const StudySpec& spec, const PlanOptions& options, Progress& progress)
      : options_(options), inputs_(spec, options, progress) {
    plan_.spec = inputs_.spec();
    plan_.skipped = inputs_.skipped();
    plan_.data_folder = options.data_folder.string();
    plan_.instruction_set = InstructionSet();
    plan_.version = options.version;
  }

  StudyPlan Run() {
    for (const PlannedModel& model : inputs_.models()) AddModel(model);
    if (std::ranges::none_of(plan_.cells,
                             [](const StudyCell& cell) { return cell.recipe != "float"; })) {
      ThrowBadInput(plan_.spec.name, "at least one cell of the study's table",
                    "none: include and exclude leave nothing");
    }
    EstimateStages(plan_, options_.flops);
    plan_.spec.models.clear();
    for (const PlannedModel& model : inputs_.models()) {
      plan_.spec.models.push_back(model.name);
      plan_.model_paths.push_back(model.path);
    }
    return std::move(plan_);
  }

 private:
  // --- stages

  std::string PoolText(RowPool pool) const {
    if (pool == RowPool::kAll) return "all rows";
    return StrCat("pool ", static_cast<int>(pool), " ", plan_.spec.pool_seed, " ",
                  plan_.spec.calibration_share);
  }

  // Adds the stage if there is none of this key yet; returns the key.
  std::string AddStage(StageKind kind, std::string label, std::string group,
                       std::vector<std::string> needs, const std::vector<std::string>& identity,
                       Json inputs) {
    std::vector<std::string> parts = {std::string(StageKindName(kind)), StrCat(kNumericVersion),
                                      plan_.instruction_set};
    parts.insert(parts.end(), identity.begin(), identity.end());
    Stage stage;
    stage.key = HashOfTexts(parts);
    if (!keys_.insert(stage.key).second) return stage.key;
    stage.kind = kind;
    stage.label = std::move(label);
    stage.group = std::move(group);
    for (std::string& need : needs) {
      if (!need.empty()) stage.needs.push_back(std::move(need));
    }
    stage.inputs = std::move(inputs);
    plan_.stages.push_back(std::move(stage));
    return plan_.stages.back().key;
  }

  std::string AddCalibration(const PlannedModel& model, const CalibrationSpec& set, uint64_t seed) {
    std::vector<std::string> identity = {model.tokenizer_hash,
                                         StrCat(static_cast<int>(set.kind)),
                                         StrCat(set.sampler.samples),
                                         StrCat(set.sampler.length),
                                         StrCat(set.sampler.held_out),
                                         set.sampler.sampler,
                                         StrCat(seed)};
    std::vector<std::string> needs;
    Json inputs = InputsOf(set, seed);
    inputs["model"] = model.path;
    if (set.kind == CalibrationKind::kCorpus) {
      identity.push_back(inputs_.TextHash(set.corpus, set.text_field, CorpusUse::kCalibration));
      inputs["corpus"] = inputs_.CorpusPath(set.corpus);
      inputs["corpus_hash"] = identity.back();
    } else if (set.kind == CalibrationKind::kRows) {
      AddRowsInputs(set, identity, inputs);
    } else if (set.kind == CalibrationKind::kSelfGenerated) {
      identity.push_back(model.hash);
      identity.push_back(StrCat(set.temperature));
    } else if (set.kind == CalibrationKind::kMixed) {
      for (const std::string& name : set.mixed) {
        needs.push_back(AddCalibration(model, plan_.spec.Calibration(name), seed));
        identity.push_back(needs.back());
      }
      inputs["members"] = needs;
    }
    return AddStage(
        StageKind::kCalibrate, StrCat("calibrate ", model.name, " ", set.name, " seed ", seed),
        StrCat("calibrate ", model.hash), std::move(needs), identity, std::move(inputs));
  }

  void AddRowsInputs(const CalibrationSpec& set, std::vector<std::string>& identity, Json& inputs) {
    const Task task = FindTask(set.task);
    const std::string split = set.split.empty() ? task.split : set.split;
    const RowPool pool =
        inputs_.IsScored(StrCat(task.data_set, ":", split)) ? RowPool::kCalibration : RowPool::kAll;
    identity.push_back(inputs_.RowsHash(set.task, task, split, 0));
    identity.push_back(set.category);
    identity.push_back(PoolText(pool));
    inputs["split"] = split;
    inputs["pool"] = static_cast<int>(pool);
    inputs["pool_seed"] = plan_.spec.pool_seed;
    inputs["calibration_share"] = plan_.spec.calibration_share;
    inputs["rows_hash"] = identity[identity.size() - 3];
  }

  std::string AddQuantize(const PlannedModel& model, const PlannedRecipe& recipe,
                          const std::string& calibrate, const std::string& set, uint64_t seed) {
    return AddStage(StageKind::kQuantize,
                    StrCat("quantize ", model.name, " ", recipe.name, " ", set, " seed ", seed),
                    StrCat("quantize ", model.hash, " ", calibrate), {calibrate},
                    {model.hash, recipe.canonical_hash, calibrate, StrCat(seed)},
                    Json{{"model", model.path},
                         {"model_hash", model.hash},
                         {"recipe", recipe.how},
                         {"recipe_hash", recipe.canonical_hash},
                         {"order", plan_.spec.order},
                         {"calibration", calibrate},
                         {"seed", seed}});
  }

  std::string AddEvaluate(const PlannedModel& model, const PlannedTest& test,
                          const std::string& quantize, const std::string& what) {
    const TestSpec& spec = *test.spec;
    Json inputs = InputsOf(spec);
    inputs["model"] = model.path;
    inputs["model_hash"] = model.hash;
    inputs["quantize"] = quantize;
    inputs["data_hash"] = test.data_hash;
    if (!spec.is_task()) inputs["corpus"] = inputs_.CorpusPath(spec.corpus);
    inputs["pool"] = static_cast<int>(test.pool);
    inputs["pool_seed"] = plan_.spec.pool_seed;
    inputs["calibration_share"] = plan_.spec.calibration_share;
    const PerplexityProtocol& protocol = FindProtocol(spec.protocol);
    const std::string how =
        spec.is_task() ? StrCat("task ", spec.task, " ", spec.category, " ",
                                spec.shots ? StrCat(*spec.shots) : "-", " ", PoolText(test.pool))
                       : StrCat("text ", protocol.name, " ", protocol.version, " ", spec.seqlen);
    return AddStage(
        StageKind::kEvaluate, StrCat("evaluate ", what, " on ", spec.name),
        StrCat("evaluate ", quantize.empty() ? model.hash : quantize), {quantize},
        {model.hash, model.tokenizer_hash, quantize, how, StrCat(spec.limit), test.data_hash},
        std::move(inputs));
  }

  std::string AddMeasure(const PlannedModel& model, const std::string& quantize,
                         const std::string& what) {
    const EfficiencySpec& spec = plan_.spec.efficiency;
    if (!spec.is_asked) return "";
    const std::string processor = ProcessorName();
    return AddStage(StageKind::kMeasure, StrCat("measure ", what), StrCat("measure ", what),
                    {quantize},
                    {model.hash, quantize, processor, StrCat(spec.prompt), StrCat(spec.gen),
                     StrCat(spec.repetitions)},
                    Json{{"model", model.path},
                         {"quantize", quantize},
                         {"processor", processor},
                         {"prompt", spec.prompt},
                         {"gen", spec.gen},
                         {"repetitions", spec.repetitions}});
  }

  // --- the table

  static bool Matches(const PairRule& rule, const StudyCell& cell) {
    return Fits(rule.models, cell.model) && Fits(rule.recipes, cell.recipe) &&
           Fits(rule.calibrations, cell.calibration) && Fits(rule.tests, cell.test) &&
           Fits(rule.relations, RelationName(cell.relation));
  }

  bool IsAsked(const StudyCell& cell) const {
    const auto matches = [&](const PairRule& rule) { return Matches(rule, cell); };
    const StudySpec& spec = plan_.spec;
    return (spec.include.empty() || std::ranges::any_of(spec.include, matches)) &&
           std::ranges::none_of(spec.exclude, matches);
  }

  void AddModel(const PlannedModel& model) {
    const std::string measure = AddMeasure(model, "", StrCat(model.name, " float"));
    for (const PlannedTest& test : inputs_.tests()) {
      StudyCell cell{model.name,      "float", "-", 0,  test.spec->name,
                     Relation::kNone, "",      "",  "", measure};
      cell.evaluate = AddEvaluate(model, test, "", StrCat(model.name, " float"));
      plan_.cells.push_back(cell);
    }
    for (const PlannedRecipe& recipe : inputs_.recipes()) {
      if (!recipe.needs_calibration) {
        AddCells(model, recipe, nullptr, 0);
        continue;
      }
      for (const CalibrationSpec& set : plan_.spec.calibrations) {
        // The same condition again takes the seeds behind the others'.
        const size_t first = set.again.empty() ? 0 : plan_.spec.seeds;
        for (size_t s = 0; s < plan_.spec.seeds; ++s) AddCells(model, recipe, &set, first + s);
      }
    }
  }

  void AddCells(const PlannedModel& model, const PlannedRecipe& recipe, const CalibrationSpec* set,
                uint64_t seed) {
    std::vector<StudyCell> cells;
    for (const PlannedTest& test : inputs_.tests()) {
      StudyCell cell{model.name,
                     recipe.name,
                     set == nullptr ? "-" : set->name,
                     seed,
                     test.spec->name,
                     Relation::kNone,
                     "",
                     "",
                     "",
                     ""};
      if (set != nullptr) {
        cell.relation =
            set->is_control ? Relation::kControl : RelationOf(set->about, test.spec->about);
      }
      if (IsAsked(cell)) cells.push_back(std::move(cell));
    }
    if (cells.empty()) return;
    const std::string calibrate = set == nullptr ? "" : AddCalibration(model, *set, seed);
    const std::string set_name = set == nullptr ? "-" : set->name;
    const std::string quantize = AddQuantize(model, recipe, calibrate, set_name, seed);
    const std::string what = StrCat(model.name, " ", recipe.name, " ", set_name, " seed ", seed);
    // Speed does not depend on the calibration data: one artefact of a recipe is measured.
    std::string& measure = measured_[StrCat(model.hash, recipe.canonical_hash)];
    if (measure.empty()) measure = AddMeasure(model, quantize, what);
    for (StudyCell& cell : cells) {
      const auto test = std::ranges::find_if(
          inputs_.tests(), [&](const PlannedTest& one) { return one.spec->name == cell.test; });
      cell.calibrate = calibrate;
      cell.quantize = quantize;
      cell.measure = measure;
      cell.evaluate = AddEvaluate(model, *test, quantize, what);
      plan_.cells.push_back(std::move(cell));
    }
  }

  const PlanOptions& options_;
  PlannedInputs inputs_;
  StudyPlan plan_;
  std::map<std::string, std::string> measured_;  // stage by model and recipe
  std::set<std::string> keys_;
};

}  // namespace

std::string_view StageKindName(StageKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

StageKind StageKindFromName(std::string_view name, std::string_view place) {
  const auto found = std::ranges::find(kKindNames, name);
  if (found == kKindNames.end()) {
    ThrowUnknownName(place, "kind of stage", name,
                     std::vector<std::string>(kKindNames.begin(), kKindNames.end()));
  }
  return static_cast<StageKind>(found - kKindNames.begin());
}

const Stage& StudyPlan::Find(std::string_view key) const {
  const auto found = std::ranges::find(stages, key, &Stage::key);
  if (found == stages.end()) {
    ThrowBadInput("stage", StrCat("a stage of study ", spec.name), StrCat("'", key, "'"));
  }
  return *found;
}

StudyPlan MakeStudyPlan(const StudySpec& spec, const PlanOptions& options, Progress& progress) {
  return Planner(spec, options, progress).Run();
}

}  // namespace qualm
