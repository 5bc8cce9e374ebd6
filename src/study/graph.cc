// Turns a study into stages and cells: for every model, recipe, calibration set, seed and test that
// the study asks for, the stages that answer it. Stages are identified by their keys, so that what
// several cells need is in the plan only once.
#include "study/graph.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "evaluate/protocol.h"
#include "generate/generation_request.h"
#include "study/estimate.h"
#include "study/machine.h"
#include "study/planned_inputs.h"
#include "study/planning_steps.h"
#include "tensor/isa.h"

namespace qualm {
namespace {

// A rule that names nothing fits everything.
bool Fits(const std::vector<std::string>& patterns, std::string_view text) {
  return patterns.empty() || std::ranges::any_of(patterns, [&](const std::string& pattern) {
           return MatchesGlob(text, pattern);
         });
}

// Builds the plan from inputs that are already found and hashed. Run is called once: it adds the
// cells of each model, and every cell adds the stages that it needs before itself.
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

  // The float model's cells are always there, so they do not count.
  StudyPlan Run() {
    for (const PlannedModel& model : inputs_.models()) AddModel(model);
    if (std::ranges::none_of(plan_.cells,
                             [](const CellRun& cell) { return cell.recipe != "float"; })) {
      ThrowBadInput(plan_.spec.name, "at least one cell of the study's table",
                    "none: include and exclude leave nothing");
    }

    EstimateStages(plan_, options_.flops);

    // The plan's models are names; `model_paths` has their folders.
    plan_.spec.models.clear();
    for (const PlannedModel& model : inputs_.models()) {
      plan_.spec.models.push_back(model.name);
      plan_.model_paths.push_back(model.path);
    }
    return std::move(plan_);
  }

 private:
  // --- stages

  // Adds the stage unless one with this key is there already, and returns the key. Stages of one
  // `group` can share a process, which loads the model once. Empty needs are dropped.
  std::string AddStage(std::string label, std::string group, std::vector<std::string> needs,
                       StageInputs inputs, InputSet files) {
    Stage stage;
    stage.files = files.Hash();
    stage.key = StageKey(inputs, stage.files, plan_.instruction_set);
    if (!keys_.insert(stage.key).second) return stage.key;

    // What the key depends on is complete; label and order are for people and executors.
    plan_.files.emplace(stage.files, std::move(files));
    stage.label = std::move(label);
    stage.group = std::move(group);
    for (std::string& need : needs) {
      if (!need.empty()) stage.needs.push_back(std::move(need));
    }
    stage.inputs = std::move(inputs);
    plan_.stages.push_back(std::move(stage));
    return plan_.stages.back().key;
  }

  // Members of a mixture become stages too, which come first.
  std::string AddCalibration(const PlannedModel& model, const CalibrationSpec& set, uint64_t seed) {
    CalibrateInputs inputs;
    inputs.kind = set.kind;
    inputs.sampler = set.sampler.sampler;
    inputs.samples = set.sampler.samples;
    inputs.length = set.sampler.length;
    inputs.held_out = set.sampler.held_out;
    inputs.seed = seed;
    inputs.model.path = model.path;

    // What the kind of set adds.
    InputSet files = model.tokenizer_files;
    switch (set.kind) {
      case CalibrationKind::kCorpus:
        inputs.corpus.path = inputs_.CorpusPath(set.corpus);
        inputs.text_field = set.text_field;
        files.Add(inputs_.CorpusFiles(set.corpus, set.text_field, CorpusUse::kCalibration));
        break;
      case CalibrationKind::kRows:
        AddRows(set, inputs, files);
        break;
      case CalibrationKind::kRandomTokens:
        break;
      case CalibrationKind::kSelfGenerated:
        inputs.temperature = set.temperature;
        inputs.text_protocol = kGenerationProtocol;
        files = model.files;
        break;
      case CalibrationKind::kMixed:
        for (const std::string& name : set.mixed) {
          inputs.members.push_back(AddCalibration(model, plan_.spec.Calibration(name), seed));
        }
        break;
    }

    // All stages of a model's calibration share a process, which loads the model at most once.
    std::vector<std::string> needs = inputs.members;
    return AddStage(StrCat("calibrate ", model.name, " ", set.name, " seed ", seed),
                    StrCat("calibrate ", model.hash), std::move(needs), std::move(inputs),
                    std::move(files));
  }

  // Rows that a test of the study scores as well come from the calibration pool only.
  void AddRows(const CalibrationSpec& set, CalibrateInputs& inputs, InputSet& files) {
    inputs.task.path = inputs_.TaskPath(set.task);
    Task task = FindTask(inputs.task.path);
    SelectCategory(task, set.category, set.name);
    if (!set.split.empty()) task.split = set.split;
    inputs.split = task.split;
    inputs.category = set.category;
    inputs.rows = inputs_.PooledRowsOf(RowPool::kCalibration, task, task.split);

    // Calibration reads rows without examples before them.
    ItemOptions options;
    options.shots = 0;
    files.Add(TaskInputs(task, options, options_.data_folder));
  }

  // The group shares model and calibration set, so that its recipes can share a pass.
  std::string AddQuantize(const PlannedModel& model, const PlannedRecipe& recipe,
                          const std::string& calibrate, const std::string& set, uint64_t seed) {
    QuantizeInputs inputs;
    inputs.model.path = model.path;
    inputs.model_hash = model.hash;
    inputs.recipe.path = recipe.how;
    inputs.order = plan_.spec.order;
    inputs.recipe_hash = recipe.canonical_hash;
    inputs.calibration = calibrate;
    inputs.seed = seed;
    return AddStage(StrCat("quantize ", model.name, " ", recipe.name, " ", set, " seed ", seed),
                    StrCat("quantize ", model.hash, " ", calibrate), {calibrate}, std::move(inputs),
                    model.source_files);
  }

  // What a conversation adds to a task: the template's files, and the settings without their place.
  void AddChat(const PlannedModel& model, const ChatSettings& chat, EvaluateInputs& inputs,
               InputSet& files) const {
    inputs.chat_template.path = inputs_.TemplatePath(chat.chat_template);
    inputs.chat = chat;
    inputs.chat->chat_template.clear();
    files.Add(
        FindChatTemplate(inputs.chat_template.path, model.path, ChatOptionsOf(chat, ChatKeys()))
            .inputs());
    files.HashFiles();
  }

  // `quantize` is the key of the stage that makes the model; empty: the float model is evaluated.
  std::string AddEvaluate(const PlannedModel& model, const PlannedTest& test,
                          const std::string& quantize, const std::string& what) {
    const TestSpec& spec = *test.spec;
    EvaluateInputs inputs;
    InputSet files = model.files;
    inputs.model.path = model.path;
    inputs.model_hash = model.hash;
    inputs.quantize = quantize;
    inputs.limit = spec.limit;
    // A task's items and a text's windows depend on different settings; only those of the test's
    // kind are filled in, so that the others cannot change the key.
    if (spec.is_task()) {
      inputs.kind = TestKind::kTask;
      inputs.task.path = inputs_.TaskPath(spec.task);
      inputs.category = spec.category;
      inputs.shots = spec.shots;
      inputs.rows = test.rows;
      if (test.is_generated) inputs.text_protocol = kGenerationProtocol;
      if (spec.chat) AddChat(model, *spec.chat, inputs, files);
    } else {
      const PerplexityProtocol& protocol = FindProtocol(spec.protocol);
      inputs.kind = TestKind::kText;
      inputs.corpus.path = inputs_.CorpusPath(spec.corpus);
      inputs.text_field = spec.text_field;
      inputs.protocol = protocol.name;
      inputs.protocol_version = protocol.version;
      inputs.seqlen = spec.seqlen;
    }

    files.Add(test.files);
    return AddStage(StrCat("evaluate ", what, " on ", spec.name),
                    StrCat("evaluate ", quantize.empty() ? model.hash : quantize), {quantize},
                    std::move(inputs), std::move(files));
  }

  // The processor is part of the inputs: a speed means nothing on another one.
  std::string AddMeasure(const PlannedModel& model, const std::string& quantize,
                         const std::string& what) {
    const EfficiencySpec& spec = plan_.spec.efficiency;
    if (!spec.is_asked) return "";
    MeasureInputs inputs;
    inputs.model.path = model.path;
    inputs.model_hash = model.hash;
    inputs.quantize = quantize;
    inputs.processor = ProcessorName();
    inputs.prompt = spec.prompt;
    inputs.gen = spec.gen;
    inputs.repetitions = spec.repetitions;
    return AddStage(StrCat("measure ", what), StrCat("measure ", what), {quantize},
                    std::move(inputs), model.files);
  }

  // --- the table

  static bool Matches(const PairRule& rule, const CellRun& cell) {
    return Fits(rule.models, cell.model) && Fits(rule.recipes, cell.recipe) &&
           Fits(rule.calibrations, cell.calibration) && Fits(rule.tests, cell.test) &&
           Fits(rule.relations, RelationName(cell.relation));
  }

  bool IsAsked(const CellRun& cell) const {
    const auto matches = [&](const PairRule& rule) { return Matches(rule, cell); };
    const StudySpec& spec = plan_.spec;
    return (spec.include.empty() || std::ranges::any_of(spec.include, matches)) &&
           std::ranges::none_of(spec.exclude, matches);
  }

  // The float model on every test is what all losses are measured against.
  void AddModel(const PlannedModel& model) {
    const std::string measure = AddMeasure(model, "", StrCat(model.name, " float"));
    for (const PlannedTest& test : inputs_.tests()) {
      plan_.cells.push_back({.model = model.name,
                             .recipe = "float",
                             .calibration = "-",
                             .test = test.spec->name,
                             .evaluate = AddEvaluate(model, test, "", StrCat(model.name, " float")),
                             .measure = measure});
    }

    for (const PlannedRecipe& recipe : inputs_.recipes()) {
      if (!recipe.needs_calibration) {
        AddCells(model, recipe, nullptr, 0);
        continue;
      }
      for (const CalibrationSpec& set : plan_.spec.calibrations) {
        // A repetition of a condition ("again") takes the seeds after those of the first.
        const size_t first = set.again.empty() ? 0 : plan_.spec.seeds;
        for (size_t s = 0; s < plan_.spec.seeds; ++s) AddCells(model, recipe, &set, first + s);
      }
    }
  }

  void AddCells(const PlannedModel& model, const PlannedRecipe& recipe, const CalibrationSpec* set,
                uint64_t seed) {
    // The cells that the study asks for; without any, nothing is quantized.
    std::vector<CellRun> cells;
    for (const PlannedTest& test : inputs_.tests()) {
      CellRun cell{.model = model.name,
                   .recipe = recipe.name,
                   .calibration = set == nullptr ? "-" : set->name,
                   .seed = seed,
                   .test = test.spec->name};
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

    for (CellRun& cell : cells) {
      const auto test = std::ranges::find_if(inputs_.tests(), [&](const PlannedTest& planned) {
        return planned.spec->name == cell.test;
      });
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

const Stage& StudyPlan::Find(std::string_view key) const {
  const auto found = std::ranges::find(stages, key, &Stage::key);
  if (found == stages.end()) {
    ThrowBadInput("stage", StrCat("a stage of study ", spec.name), StrCat("'", key, "'"));
  }
  return *found;
}

void StudyPlan::RequireUnchanged(const Stage& stage, InputSet& opened,
                                 std::string_view what) const {
  // A loader that reports nothing would pass every comparison.
  if (opened.files().empty()) ThrowFailed(stage.label, StrCat(what, " names no file that it read"));

  InputSet planned = files.at(stage.files);
  if (planned.FirstOther(opened) == nullptr) return;
  ThrowFailed(stage.label, StrCat(what, " has changed since the study was planned"));
}

StudyPlan MakeStudyPlan(const StudySpec& spec, const PlanOptions& options, Progress& progress) {
  return Planner(spec, options, progress).Run();
}

}  // namespace qualm
