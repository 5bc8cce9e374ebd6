// Finds and hashes the models, recipes, texts and rows of a study, and says what is missing before
// any stage runs. What is found here goes into the keys of stages.
#include "study/planned_inputs.h"

#include <algorithm>

#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "evaluate/protocol.h"
#include "io/hash.h"
#include "model/hub_cache.h"
#include "model/model.h"
#include "quantize/output_folder.h"
#include "recipe/recipe.h"
#include "study/planning_steps.h"

namespace qualm {
namespace {

// The path as it is, or relative to the study's or the data folder; empty if no such file exists.
std::string ResolvePath(const std::string& path, const PlanOptions& options) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return path;
  for (const std::filesystem::path& folder : {options.study_folder, options.data_folder}) {
    const std::filesystem::path below = folder / path;
    if (!folder.empty() && std::filesystem::exists(below, ignored)) return below.string();
  }
  return "";
}

// The last part of what the study says: a snapshot in the hub's cache is named by a hash.
std::string NameOfModel(const std::string& given, const std::string& folder) {
  std::error_code ignored;
  const bool is_folder = given.empty() || std::filesystem::exists(given, ignored) ||
                         std::filesystem::path(folder).filename() ==
                             std::filesystem::path(given).lexically_normal().filename();
  return std::filesystem::path(is_folder ? folder : given).filename().string();
}

}  // namespace

PlannedInputs::PlannedInputs(StudySpec spec, const PlanOptions& options, Progress& progress)
    : spec_(std::move(spec)), options_(options), progress_(progress) {
  // The order matters: missing sets decide which recipes have data, and pools need both sets and
  // tests.
  ReadModels();
  DropMissingSets();
  ReadRecipes();
  FindPools();
  ReadTests();
}

// NAME=FOLDER or FOLDER; without a name the folder's last part is the name.
void PlannedInputs::ReadModels() {
  // --model replaces the study's models.
  const std::vector<std::string>& wanted = options_.models.empty() ? spec_.models : options_.models;
  if (wanted.empty()) {
    ThrowBadInput(spec_.name, "a model", "none", "this study names none: --model NAME=FOLDER");
  }
  for (const std::string& named : wanted) {
    const size_t equals = named.find('=');
    const std::string path = equals == std::string::npos ? named : named.substr(equals + 1);
    PlannedModel model;

    // Folders first; other names may be models in the hub's cache.
    model.path = ResolvePath(path, options_);
    if (model.path.empty()) model.path = ResolvePath(FindModelFolder(path).string(), options_);
    if (model.path.empty()) {
      ThrowBadInput(path, "a model folder", "nothing there",
                    "relative paths begin at the current or the study's folder");
    }

    model.path = std::filesystem::absolute(model.path).lexically_normal().string();
    model.name =
        equals == std::string::npos ? NameOfModel(path, model.path) : named.substr(0, equals);
    if (!HasTokenizer(model.path)) ThrowBadInput(path, "a model with its tokenizer", "none");

    // Every file is read once here; stages carry the hashes.
    progress_.Info(StrCat("hashing ", model.path));
    model.files = ModelFiles(model.path);
    model.hash = model.files.Hash();
    model.source_files = model.files;
    model.source_files.Add(SourceFiles(Checkpoint::Open(model.path)));
    model.source_files.HashFiles();
    model.tokenizer_files = LoadTokenizer(model.path)->inputs();
    model.tokenizer_files.HashFiles();

    for (const PlannedModel& other : models_) {
      if (other.name == model.name) {
        ThrowBadInput("--model", "different names", StrCat("'", model.name, "' twice"),
                      "NAME=FOLDER gives a model another one");
      }
    }
    models_.push_back(std::move(model));
  }
}

void PlannedInputs::ReadRecipes() {
  for (const std::string& name : spec_.recipes) {
    // A .yaml file is looked for like other files; other names are built in.
    PlannedRecipe recipe;
    recipe.how = name;
    if (name.ends_with(".yaml")) {
      recipe.how = ResolvePath(name, options_);
      if (recipe.how.empty()) recipe.how = name;  // FindRecipe says what is wrong
    }

    const Recipe found = OrderedRecipe(recipe.how, spec_.order);
    recipe.name = found.name;
    recipe.canonical_hash = HashBytes(found.CanonicalJson());
    recipe.needs_calibration = found.NeedsCalibration();

    for (const PlannedRecipe& other : recipes_) {
      if (other.name == recipe.name) {
        ThrowBadInput(spec_.name, "recipes with different names", recipe.name);
      }
    }

    // Without calibration sets such a recipe has nothing to read.
    if (recipe.needs_calibration && spec_.calibrations.empty()) {
      ThrowBadInput(spec_.name, StrCat("calibration sets: recipe ", name, " reads data"), "none");
    }
    recipes_.push_back(std::move(recipe));
  }

  spec_.recipes.clear();
  for (const PlannedRecipe& recipe : recipes_) spec_.recipes.push_back(recipe.name);
}

// Leaves out the calibration sets whose data is missing, and mixtures that have too little left.
void PlannedInputs::DropMissingSets() {
  std::vector<CalibrationSpec>& sets = spec_.calibrations;
  std::vector<std::string> missing;

  // A set whose file is missing is an error, unless missing data may be skipped.
  for (const CalibrationSpec& set : sets) {
    const std::string file = MissingFileOf(set);
    if (file.empty()) continue;
    if (!options_.skip_missing) {
      ThrowBadInput(StrCat("calibration set ", set.name), StrCat("the file ", file), "none",
                    "--skip-missing leaves such sets out");
    }
    missing.push_back(set.name);
    skipped_.push_back(StrCat("calibration set ", set.name, ": no file ", file));
    progress_.Warn(StrCat(skipped_.back(), "; it is left out"));
  }

  std::erase_if(sets, [&](const CalibrationSpec& set) {
    return std::ranges::find(missing, set.name) != missing.end();
  });

  // Mixtures lose the members that are missing; a mixture that keeps fewer than two is left out as
  // well.
  for (CalibrationSpec& set : sets) {
    std::erase_if(set.mixed, [&](const std::string& name) {
      return std::ranges::find(missing, name) != missing.end();
    });
  }
  std::erase_if(sets, [](const CalibrationSpec& set) {
    return set.kind == CalibrationKind::kMixed && set.mixed.size() < 2;
  });
}

std::string PlannedInputs::MissingFileOf(const CalibrationSpec& set) const {
  // Rows need the files of a task, corpora by path need that path; other sets need no file.
  if (set.kind == CalibrationKind::kRows) {
    Task task = FindTask(TaskPath(set.task));
    if (!set.split.empty()) task.split = set.split;
    ItemOptions items;
    items.shots = 0;
    return MissingTaskFile(task, items, options_.data_folder);
  }

  const bool is_path =
      set.kind == CalibrationKind::kCorpus && set.corpus.find_first_of("/.") != std::string::npos;
  return is_path && ResolvePath(set.corpus, options_).empty() ? set.corpus : "";
}

// Rows that are used for both calibration and scoring are divided between them.
void PlannedInputs::FindPools() {
  // Rows are read and hashed only where there are two uses that may meet.
  const auto is_rows = [](const CalibrationSpec& set) {
    return set.kind == CalibrationKind::kRows;
  };
  if (std::ranges::none_of(spec_.calibrations, is_rows)) return;
  for (const CalibrationSpec& set : spec_.calibrations) {
    if (!is_rows(set)) continue;
    const Task task = FindTask(TaskPath(set.task));
    shared_rows_.Add(RowPool::kCalibration, StrCat("calibration set ", set.name),
                     RowsOf(task, set.split.empty() ? task.split : set.split));
  }

  for (const TestSpec& test : spec_.tests) {
    if (!test.is_task()) continue;
    const Task task = FindTask(TaskPath(test.task));
    shared_rows_.Add(RowPool::kScored, StrCat("test ", test.name), RowsOf(task, task.split));
  }
  shared_rows_.Part();
}

// Several sets and tests often have the same rows: they are read once.
const RowsIdentity& PlannedInputs::RowsOf(const Task& task, const std::string& split) {
  const std::string name = StrCat(task.data_set, ":", split);
  const auto known = row_identities_.find(name);
  if (known != row_identities_.end()) return known->second;
  return row_identities_.emplace(name, IdentifyRows(task, split, options_.data_folder))
      .first->second;
}

PooledRows PlannedInputs::PooledRowsOf(RowPool use, const Task& task,
                                       const std::string& split) const {
  const auto known = row_identities_.find(StrCat(task.data_set, ":", split));
  if (known == row_identities_.end()) return {};
  PooledRows rows = shared_rows_.Of(use, known->second.name);
  if (rows.pool == RowPool::kAll) return rows;
  rows.seed = spec_.pool_seed;
  rows.calibration_share = spec_.calibration_share;
  return rows;
}

void PlannedInputs::ReadTests() {
  // Each test gets the hash of its rows or of its text.
  for (const TestSpec& spec : spec_.tests) {
    PlannedTest test;
    test.spec = &spec;
    if (spec.is_task()) {
      if (!ReadTask(spec, test)) continue;
    } else {
      (void)FindProtocol(spec.protocol);
      test.files = CorpusFiles(spec.corpus, spec.text_field, CorpusUse::kEvaluation);
    }
    tests_.push_back(std::move(test));
  }
}

// False if the task is left out because its data is missing.
bool PlannedInputs::ReadTask(const TestSpec& spec, PlannedTest& test) {
  Task task = FindTask(TaskPath(spec.task));
  SelectCategory(task, spec.category, spec.name);
  ItemOptions items;
  items.shots = spec.shots;

  // Without its data the task is an error, or it is left out.
  const std::string missing = MissingTaskFile(task, items, options_.data_folder);
  if (!missing.empty()) {
    const RowSet& set = FindRowSet(task.data_set, task.name);
    if (!options_.skip_missing) {
      ThrowBadInput(
          StrCat("test ", spec.name), StrCat("the file ", missing), "none",
          StrCat("it comes from: ", set.source, "; --skip-missing leaves such tests out"));
    }
    progress_.Warn(StrCat("test ", spec.name, " is left out: no file ", missing));
    skipped_.push_back(StrCat(spec.name, ": no file ", missing));
    return false;
  }

  test.rows = PooledRowsOf(RowPool::kScored, task, task.split);
  test.is_generated = task.kind == TaskKind::kGeneration;
  test.files = TaskInputs(task, items, options_.data_folder);
  test.files.HashFiles();
  return true;
}

const InputSet& PlannedInputs::CorpusFiles(const std::string& corpus, const std::string& field,
                                           CorpusUse use) {
  // Tests and calibration sets often name the same text: it is found and hashed once.
  const std::string name = CorpusPath(corpus);
  const std::string key = StrCat(name, "\n", field, "\n", static_cast<int>(use));
  const auto known = corpus_files_.find(key);
  if (known != corpus_files_.end()) return known->second;

  InputSet& files = corpus_files_[key];
  files = FindCorpus(name, use, options_.data_folder, {.text_field = field}).inputs;
  files.HashFiles();
  return files;
}

// What FindTask reads as a file: a name with a folder, or FILE.yaml, or FILE.yaml:SUBSET.
std::string PlannedInputs::TaskPath(const std::string& task) const {
  constexpr std::string_view kEnding = ".yaml";
  const size_t at = task.rfind(kEnding);
  const size_t end = at == std::string::npos ? 0 : at + kEnding.size();
  if (end > 0 && (end == task.size() || task[end] == ':')) {
    return CorpusPath(task.substr(0, end)) + task.substr(end);
  }
  return task.find('/') == std::string::npos ? task : CorpusPath(task);
}

std::string PlannedInputs::TemplatePath(const std::string& chat_template) const {
  return IsTemplateFile(chat_template) ? CorpusPath(chat_template) : chat_template;
}

std::string PlannedInputs::CorpusPath(const std::string& corpus) const {
  const std::string found = ResolvePath(corpus, options_);
  return found.empty() ? corpus : std::filesystem::absolute(found).lexically_normal().string();
}

}  // namespace qualm
