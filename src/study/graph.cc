#include "study/graph.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/strings.h"
#include "data/named_corpora.h"
#include "data/row_sets.h"
#include "evaluate/protocol.h"
#include "io/hash.h"
#include "model/model.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"
#include "study/estimate.h"
#include "study/machine.h"
#include "study/stage_inputs.h"
#include "tasks/embedded_tasks.h"
#include "tasks/items.h"
#include "tensor/isa.h"

namespace qualm {
namespace {

constexpr std::array<std::string_view, 4> kKindNames = {"calibrate", "quantize", "evaluate",
                                                        "measure"};

struct PlannedModel {
  std::string name, path, hash, tokenizer_hash;
};

struct PlannedTest {
  const TestSpec* spec = nullptr;
  std::string data_hash;  // of the text, or of the task and its files
  RowPool pool = RowPool::kAll;
};

struct PlannedRecipe {
  std::string name, how, canonical_hash;  // how: a built-in name or a path
  bool needs_calibration = false;
};

std::string HashOfTexts(const std::vector<std::string>& texts) {
  Hasher hasher;
  for (const std::string& text : texts) hasher.Add(text);
  return hasher.Hex();
}

// The file as it is, or below the study's or the data folder; empty if it is at no such place.
std::string ResolvePath(const std::string& path, const PlanOptions& options) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return path;
  for (const std::filesystem::path& folder : {options.study_folder, options.data_folder}) {
    const std::filesystem::path below = folder / path;
    if (!folder.empty() && std::filesystem::exists(below, ignored)) return below.string();
  }
  return "";
}

std::string TaskText(const std::string& name) {
  for (const EmbeddedFile& file : EmbeddedTasks()) {
    if (file.name == StrCat(name, ".yaml")) return std::string(file.text);
  }
  return ReadFile(name, 1 << 20);
}

bool Fits(const std::vector<std::string>& patterns, std::string_view text) {
  return patterns.empty() || std::ranges::any_of(patterns, [&](const std::string& pattern) {
           return MatchesGlob(text, pattern);
         });
}

class Planner {
 public:
  Planner(const StudySpec& spec, const PlanOptions& options, Progress& progress)
      : options_(options), progress_(progress) {
    plan_.spec = spec;
    plan_.data_folder = options.data_folder.string();
    plan_.instruction_set = InstructionSet();
    plan_.version = options.version;
  }

  StudyPlan Run() {
    ReadModels();
    DropMissingSets();
    ReadRecipes();
    FindPools();
    ReadTests();
    for (const PlannedModel& model : models_) AddModel(model);
    if (std::ranges::none_of(plan_.cells,
                             [](const StudyCell& cell) { return cell.recipe != "float"; })) {
      ThrowBadInput(plan_.spec.name, "at least one cell of the study's table",
                    "none: include and exclude leave nothing");
    }
    EstimateStages(plan_, options_.flops);
    plan_.spec.models.clear();
    for (const PlannedModel& model : models_) {
      plan_.spec.models.push_back(model.name);
      plan_.model_paths.push_back(model.path);
    }
    return std::move(plan_);
  }

 private:
  // --- what the study names

  void ReadModels() {
    const std::vector<std::string>& wanted =
        options_.models.empty() ? plan_.spec.models : options_.models;
    if (wanted.empty()) {
      ThrowBadInput(plan_.spec.name, "a model", "none",
                    "this study has none of its own: --model NAME=FOLDER");
    }
    for (const std::string& one : wanted) {
      const size_t equals = one.find('=');
      const std::string path = equals == std::string::npos ? one : one.substr(equals + 1);
      PlannedModel model;
      model.path = ResolvePath(path, options_);
      if (model.path.empty()) {
        ThrowBadInput(path, "a model folder", "nothing there",
                      "relative paths begin at the current or the study's folder");
      }
      model.path = std::filesystem::absolute(model.path).lexically_normal().string();
      model.name = equals == std::string::npos
                       ? std::filesystem::path(model.path).filename().string()
                       : one.substr(0, equals);
      if (!HasTokenizer(model.path)) ThrowBadInput(path, "a model with its tokenizer", "none");
      progress_.Info(StrCat("hashing ", model.path));
      model.hash = Checkpoint::Open(model.path).Hash();
      model.tokenizer_hash = TokenizerHash(model.path);
      for (const PlannedModel& other : models_) {
        if (other.name == model.name) {
          ThrowBadInput("--model", "different names", StrCat("'", model.name, "' twice"),
                        "NAME=FOLDER gives a model another one");
        }
      }
      models_.push_back(std::move(model));
    }
  }

  static std::string TokenizerHash(const std::string& folder) {
    std::vector<std::string> hashes;
    for (const char* name : {"tokenizer.model", "tokenizer.json", "vocab.json", "merges.txt",
                             "tokenizer_config.json"}) {
      const std::filesystem::path file = std::filesystem::path(folder) / name;
      std::error_code ignored;
      if (!std::filesystem::exists(file, ignored)) continue;
      hashes.emplace_back(name);
      hashes.push_back(HashFile(file));
    }
    return HashOfTexts(hashes);
  }

  void ReadRecipes() {
    for (const std::string& name : plan_.spec.recipes) {
      PlannedRecipe recipe;
      recipe.how = name;
      if (name.ends_with(".yaml")) {
        recipe.how = ResolvePath(name, options_);
        if (recipe.how.empty()) recipe.how = name;  // FindRecipe says what is wrong
      }
      const Recipe found = OrderedRecipe(recipe.how, plan_.spec.order);
      recipe.name = found.name;
      recipe.canonical_hash = HashBytes(found.CanonicalJson());
      recipe.needs_calibration = found.NeedsCalibration();
      for (const PlannedRecipe& other : recipes_) {
        if (other.name == recipe.name) {
          ThrowBadInput(plan_.spec.name, "recipes with different names", recipe.name);
        }
      }
      if (recipe.needs_calibration && plan_.spec.calibrations.empty()) {
        ThrowBadInput(plan_.spec.name, StrCat("calibration sets: recipe ", name, " reads data"),
                      "none");
      }
      recipes_.push_back(std::move(recipe));
    }
    plan_.spec.recipes.clear();
    for (const PlannedRecipe& recipe : recipes_) plan_.spec.recipes.push_back(recipe.name);
  }

  // Calibration sets whose data is not at hand, and what is made of them.
  void DropMissingSets() {
    std::vector<CalibrationSpec>& sets = plan_.spec.calibrations;
    std::vector<std::string> missing;
    for (const CalibrationSpec& set : sets) {
      const std::string file = MissingFileOf(set);
      if (file.empty()) continue;
      if (!options_.skip_missing) {
        ThrowBadInput(StrCat("calibration set ", set.name), StrCat("the file ", file), "none",
                      "--skip-missing leaves such sets out");
      }
      missing.push_back(set.name);
      plan_.skipped.push_back(StrCat("calibration set ", set.name, ": no file ", file));
      progress_.Warn(StrCat(plan_.skipped.back(), "; it is left out"));
    }
    std::erase_if(sets, [&](const CalibrationSpec& set) {
      return std::ranges::find(missing, set.name) != missing.end();
    });
    for (CalibrationSpec& set : sets) {
      std::erase_if(set.mixed, [&](const std::string& name) {
        return std::ranges::find(missing, name) != missing.end();
      });
    }
    std::erase_if(sets, [](const CalibrationSpec& set) {
      return set.kind == CalibrationKind::kMixed && set.mixed.size() < 2;
    });
  }

  std::string MissingFileOf(const CalibrationSpec& set) const {
    if (set.kind == CalibrationKind::kRows) {
      Task task = FindTask(set.task);
      if (!set.split.empty()) task.split = set.split;
      ItemOptions items;
      items.shots = 0;
      return MissingTaskFile(task, items, options_.data_folder);
    }
    const bool is_path =
        set.kind == CalibrationKind::kCorpus && set.corpus.find_first_of("/.") != std::string::npos;
    return is_path && ResolvePath(set.corpus, options_).empty() ? set.corpus : "";
  }

  // A split that is both calibrated on and scored is parted.
  void FindPools() {
    for (const CalibrationSpec& set : plan_.spec.calibrations) {
      if (set.kind != CalibrationKind::kRows) continue;
      const Task task = FindTask(set.task);
      calibrated_.insert(StrCat(task.data_set, ":", set.split.empty() ? task.split : set.split));
    }
    for (const TestSpec& test : plan_.spec.tests) {
      if (!test.is_task()) continue;
      const Task task = FindTask(test.task);
      scored_.insert(StrCat(task.data_set, ":", task.split));
    }
  }

  void ReadTests() {
    for (const TestSpec& spec : plan_.spec.tests) {
      PlannedTest test;
      test.spec = &spec;
      if (spec.is_task()) {
        if (!ReadTask(spec, test)) continue;
      } else {
        (void)FindProtocol(spec.protocol);
        test.data_hash = TextHash(spec.corpus, spec.text_field, CorpusUse::kEvaluation);
      }
      tests_.push_back(std::move(test));
    }
  }

  bool ReadTask(const TestSpec& spec, PlannedTest& test) {
    Task task = FindTask(spec.task);
    SelectCategory(task, spec.category, spec.name);
    ItemOptions items;
    items.shots = spec.shots;
    const std::string missing = MissingTaskFile(task, items, options_.data_folder);
    if (!missing.empty()) {
      const RowSet& set = FindRowSet(task.data_set, task.name);
      if (!options_.skip_missing) {
        ThrowBadInput(
            StrCat("test ", spec.name), StrCat("the file ", missing), "none",
            StrCat("it comes from: ", set.source, "; --skip-missing leaves such tests out"));
      }
      progress_.Warn(StrCat("test ", spec.name, " is left out: no file ", missing));
      plan_.skipped.push_back(StrCat(spec.name, ": no file ", missing));
      return false;
    }
    if (calibrated_.contains(StrCat(task.data_set, ":", task.split))) test.pool = RowPool::kScored;
    test.data_hash = RowsHash(spec.task, task, task.split, spec.shots.value_or(task.default_shots));
    return true;
  }

  std::string RowsHash(const std::string& name, const Task& task, const std::string& split,
                       size_t shots) {
    const RowSet& set = FindRowSet(task.data_set, task.name);
    std::vector<std::string> parts = {
        TaskText(name), HashOfFiles(set, set.FindSplit(split, name), options_.data_folder)};
    if (shots > 0 && !task.shot_split.empty()) {
      parts.push_back(HashOfFiles(set, set.FindSplit(task.shot_split, name), options_.data_folder));
    }
    return HashOfTexts(parts);
  }

  std::string TextHash(const std::string& corpus, const std::string& field, CorpusUse use) {
    const std::string found = ResolvePath(corpus, options_);
    const std::string name = found.empty() ? corpus : found;
    std::string& hash = text_hashes_[StrCat(name, "\n", field, "\n", static_cast<int>(use))];
    if (hash.empty()) {
      hash = FindCorpus(name, use, options_.data_folder, {.text_field = field}).hash;
    }
    return hash;
  }

  std::string CorpusPath(const std::string& corpus) const {
    const std::string found = ResolvePath(corpus, options_);
    return found.empty() ? corpus : std::filesystem::absolute(found).lexically_normal().string();
  }

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
      identity.push_back(TextHash(set.corpus, set.text_field, CorpusUse::kCalibration));
      inputs["corpus"] = CorpusPath(set.corpus);
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
        scored_.contains(StrCat(task.data_set, ":", split)) ? RowPool::kCalibration : RowPool::kAll;
    identity.push_back(RowsHash(set.task, task, split, 0));
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
    if (!spec.is_task()) inputs["corpus"] = CorpusPath(spec.corpus);
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
    for (const PlannedTest& test : tests_) {
      StudyCell cell{model.name,      "float", "-", 0,  test.spec->name,
                     Relation::kNone, "",      "",  "", measure};
      cell.evaluate = AddEvaluate(model, test, "", StrCat(model.name, " float"));
      plan_.cells.push_back(cell);
    }
    for (const PlannedRecipe& recipe : recipes_) {
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
    for (const PlannedTest& test : tests_) {
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
          tests_, [&](const PlannedTest& one) { return one.spec->name == cell.test; });
      cell.calibrate = calibrate;
      cell.quantize = quantize;
      cell.measure = measure;
      cell.evaluate = AddEvaluate(model, *test, quantize, what);
      plan_.cells.push_back(std::move(cell));
    }
  }

  const PlanOptions& options_;
  Progress& progress_;
  StudyPlan plan_;
  std::vector<PlannedModel> models_;
  std::vector<PlannedRecipe> recipes_;
  std::vector<PlannedTest> tests_;
  std::set<std::string> calibrated_, scored_;  // "set:split"
  std::map<std::string, std::string> text_hashes_, measured_;
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
