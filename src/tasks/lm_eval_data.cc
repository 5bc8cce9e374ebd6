// Finds the files of a task's rows, and makes rows of them as the `datasets` library would.
#include "tasks/lm_eval_data.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "data/local_sets.h"
#include "io/yaml.h"
#include "tasks/lm_eval_task.h"
#include "tasks/task_keys.h"

namespace qualm {
namespace {

namespace fs = std::filesystem;

// Names that `datasets` has for loaders of files, and our readers.
struct Loader {
  std::string_view name, reader;
};
constexpr Loader kLoaders[] = {{"json", "jsonl"},
                               {"csv", "csv"},
                               {"text", "lines"},
                               {"parquet", "parquet"},
                               {"arrow", "arrow"}};

std::string TextOf(const TaskKeys& keys, std::string_view key) {
  const Yaml* value = keys.Find(key);
  return value == nullptr ? std::string() : value->AsString();
}

std::vector<std::string> TextsOf(const Yaml& value) {
  if (value.kind() != Yaml::Kind::kList) return {value.AsString()};
  std::vector<std::string> texts;
  for (const Yaml& one : value.AsList()) texts.push_back(one.AsString());
  return texts;
}

// A path as it is, else next to the task file; that it is not there shows when rows are read.
std::string FoundPath(const std::string& path, const Yaml& written) {
  std::error_code ignored;
  if (fs::path(path).is_absolute() || fs::exists(path, ignored)) return fs::absolute(path).string();
  const std::string place = written.place();
  const fs::path beside = fs::path(place.substr(0, place.rfind(':'))).parent_path() / path;
  return fs::exists(beside, ignored) ? fs::absolute(beside).string() : fs::absolute(path).string();
}

// dataset_kwargs: {data_files: ..., field: ...}; a map names the splits, else all is "train".
void ReadDataFiles(const TaskKeys& keys, const Loader& loader, LmEvalFormat& format, Task& task) {
  const Yaml* options = keys.Find("dataset_kwargs");
  const Yaml* files = options == nullptr ? nullptr : options->Find("data_files");
  if (files == nullptr) {
    ThrowBadInput(keys.Find("dataset_path")->place(),
                  StrCat("dataset_kwargs with data_files for dataset_path: ", loader.name), "none");
  }
  options->RequireKnownKeys(
      std::array<std::string, 4>{"data_files", "field", "trust_remote_code", "cache_dir"});
  RowFormat rows;
  rows.reader = loader.reader;
  if (const Yaml* field = options->Find("field")) {
    if (loader.name != "json") {
      ThrowBadInput(field->place(), "no field with dataset_path: " + std::string(loader.name),
                    field->AsString(), "only JSON files have one");
    }
    rows.reader = "json";
    rows.records = field->AsString();
  }

  std::vector<LocalSplit> splits;
  const auto add = [&](const std::string& name, const Yaml& named) {
    LocalSplit split{name, {}, rows};
    for (const std::string& path : TextsOf(named)) split.files.push_back(FoundPath(path, named));
    splits.push_back(std::move(split));
  };
  if (files->IsMap()) {
    for (const auto& [name, named] : files->AsMap()) add(name, named);
  } else {
    add("train", *files);
  }

  format.infers_types = loader.name == "csv";
  const std::string place = keys.place();
  const fs::path file = fs::absolute(place.substr(0, place.rfind(':')));
  task.data_set = DefineLocalSet((file / loader.name).string(), std::move(splits));
}

// A folder or file of the user's.
void ReadLocalSet(const std::string& path, LmEvalFormat& format, Task& task) {
  task.data_set = path;
  for (const RowSet::Split& split : FindRowSet(path, path).splits) {
    format.infers_types |= split.format.reader == "csv" || split.format.reader == "tsv";
  }
}

bool ReadHubSet(const TaskKeys& keys, const std::string& path, LmEvalFormat& format, Task& task) {
  const std::string name = TextOf(keys, "dataset_name");
  const HubSet* found = nullptr;
  std::vector<std::string> names;
  for (const HubSet& set : AllHubSets()) {
    if (set.path != path) continue;
    names.push_back(set.name);
    const bool is_any = set.name.empty() || set.name == "{subset}";
    if (set.name == name || (is_any && found == nullptr)) found = &set;
  }
  if (found == nullptr && !names.empty()) {
    const Yaml* named = keys.Find("dataset_name");
    ThrowUnknownName(named == nullptr ? keys.place() : named->place(),
                     StrCat("dataset_name of ", path), name, names);
  }
  if (found == nullptr) return false;

  task.data_set = found->set;
  task.inputs.Add(found->definition);
  format.view = found->View();
  format.splits = found->splits;
  const bool all = format.names_subset || name.empty();
  if (found->subset == "{subset}") {
    if (!all) task.subsets = {name};
  } else if (!found->subset.empty()) {
    task.subsets = {found->subset};
  }

  // The hub's names of subsets are ours.
  const RowSet& set = FindRowSet(found->set, found->place);
  for (const std::string& subset : task.subsets) {
    if (std::ranges::find(set.subsets, subset) != set.subsets.end()) continue;
    ThrowUnknownName(keys.Find("dataset_name")->place(), StrCat("dataset_name of ", path), subset,
                     set.subsets);
  }
  return true;
}

bool ReadOurSet(const TaskKeys& keys, const std::string& path, const LmEvalFormat& format,
                Task& task) {
  for (const RowSet& set : AllRowSets()) {
    if (set.name != path) continue;
    task.data_set = path;
    const std::string name = TextOf(keys, "dataset_name");
    if (!format.names_subset && !name.empty() && !set.subsets.empty()) task.subsets = {name};
    return true;
  }
  return false;
}

[[noreturn]] void RefuseDataSet(const TaskKeys& keys, const std::string& path) {
  std::set<std::string> known;
  for (const Loader& loader : kLoaders) known.emplace(loader.name);
  for (const HubSet& set : AllHubSets()) known.insert(set.path);
  for (const RowSet& set : AllRowSets()) known.insert(set.name);
  ThrowUnknownName(
      keys.Find("dataset_path")->place(),
      "dataset_path (a loader of files with data_files, a path that is there, or a set "
      "that qualm list datasets shows)",
      path, std::vector<std::string>(known.begin(), known.end()));
}

// The harness's name of a split as one of the data set's; empty: the set has no such split.
std::string SplitOf(const RowSet& set, const LmEvalFormat& format, const std::string& name) {
  for (const auto& [theirs, ours] : format.splits) {
    if (theirs == name) return ours;
  }
  // `datasets` calls all of these "validation".
  std::vector<std::string> names = {name};
  if (name == "validation" && IsLocalSet(set.name)) names = {name, "valid", "val", "dev"};
  for (const std::string& one : names) {
    for (const RowSet::Split& split : set.splits) {
      if (split.name == one) return one;
    }
  }
  return "";
}

// Which rows are scored, and from where examples are taken (Task.fewshot_docs).
void ReadSplits(const TaskKeys& keys, LmEvalFormat& format, Task& task) {
  const RowSet& set = FindRowSet(task.data_set, keys.place());
  const std::string training = TextOf(keys, "training_split");
  const std::string validation = TextOf(keys, "validation_split");
  const std::string test = TextOf(keys, "test_split");
  const std::string scored = test.empty() ? validation : test;
  if (scored.empty()) ThrowBadInput(keys.place(), "test_split or validation_split", "neither");

  const Yaml* named = keys.Find(test.empty() ? "validation_split" : "test_split");
  task.split = SplitOf(set, format, scored);
  if (task.split.empty()) (void)set.FindSplit(scored, named->place());

  std::string shots = TextOf(keys, "fewshot_split");
  if (const Yaml* config = keys.Find("fewshot_config")) {
    if (const Yaml* split = config->Find("split")) shots = split->AsString();
  }
  format.shots.leaves_out_scored = shots == test;
  if (!shots.empty()) {
    format.shots.has_samples = false;
  } else {
    shots = !training.empty() ? training : !validation.empty() ? validation : test;
  }
  if (format.shots.has_samples) return;
  task.shot_split = SplitOf(set, format, shots);
  if (task.shot_split.empty()) format.shots.missing_split = shots;
}

// --- types

// What pandas takes for a missing value.
bool IsMissing(const std::string& text) {
  constexpr std::string_view kMissing[] = {"",         "#N/A", "#N/A N/A", "#NA",    "-1.#IND",
                                           "-1.#QNAN", "-NaN", "-nan",     "1.#IND", "1.#QNAN",
                                           "<NA>",     "N/A",  "NA",       "NULL",   "NaN",
                                           "None",     "n/a",  "nan",      "null"};
  return std::ranges::find(kMissing, text) != std::end(kMissing);
}

template <class Number>
bool IsNumber(const std::string& text, Number& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end;
}

// A column of text as pandas.read_csv types it: whole numbers, numbers, truth values, else texts.
void InferTypes(std::vector<SourcedRow>& rows, const std::string& column) {
  bool is_whole = true, is_real = true, is_truth = true, has_missing = false;
  for (const SourcedRow& row : rows) {
    const auto& text = row.row.at(column).get_ref<const std::string&>();
    if (IsMissing(text)) {
      has_missing = true;
      continue;
    }
    int64_t whole = 0;
    double real = 0;
    is_whole &= IsNumber(text, whole);
    is_real &= IsNumber(text, real);
    is_truth &= text == "True" || text == "False" || text == "TRUE" || text == "FALSE" ||
                text == "true" || text == "false";
  }

  // A missing value turns a column of whole numbers into one of numbers.
  for (SourcedRow& row : rows) {
    Json& value = row.row.at(column);
    const std::string text = value.get<std::string>();
    if (IsMissing(text)) {
      value = nullptr;
    } else if (is_whole && !has_missing) {
      int64_t whole = 0;
      (void)IsNumber(text, whole);
      value = whole;
    } else if (is_real) {
      double real = 0;
      (void)IsNumber(text, real);
      value = real;
    } else if (is_truth && !has_missing) {
      value = ToLower(text) == "true";
    }
  }
}

// A column of a table without a name, usually the rows' numbers, gets the name that pandas gives
// it.
void NameColumns(std::vector<SourcedRow>& rows) {
  if (rows.empty() || !rows[0].row.contains("")) return;
  size_t place = 0;
  for (const auto& [name, value] : rows[0].row.items()) {
    if (name.empty()) break;
    ++place;
  }
  for (SourcedRow& row : rows) {
    Json named = Json::object();
    for (auto& [name, value] : row.row.items()) {
      named[name.empty() ? StrCat("Unnamed: ", place) : name] = std::move(value);
    }
    row.row = std::move(named);
  }
}

// `datasets` gives all rows all fields: null where a row of JSON lacks one.
void FillFields(std::vector<SourcedRow>& rows) {
  std::vector<std::string> names;
  std::set<std::string> known;
  for (const SourcedRow& row : rows) {
    for (const auto& [name, value] : row.row.items()) {
      if (known.insert(name).second) names.push_back(name);
    }
  }
  for (SourcedRow& row : rows) {
    if (row.row.size() == names.size()) continue;
    for (const std::string& name : names) {
      if (!row.row.contains(name)) row.row[name] = nullptr;
    }
  }
}

}  // namespace

void FindLmEvalData(const TaskKeys& keys, LmEvalFormat& format, Task& task) {
  const Yaml* path = keys.Find("dataset_path");
  if (path == nullptr) ThrowBadInput(keys.place(), "dataset_path", "none");
  const std::string name = path->AsString();

  const auto* loader =
      std::ranges::find_if(kLoaders, [&](const Loader& one) { return one.name == name; });
  // A bare word is a known name before it is a folder that happens to be called so.
  std::error_code ignored;
  const std::string local = FoundPath(name, *path);
  const bool is_path = IsLocalSet(name) && fs::exists(local, ignored);
  if (loader != std::end(kLoaders)) {
    ReadDataFiles(keys, *loader, format, task);
  } else if (is_path) {
    ReadLocalSet(local, format, task);
  } else if (ReadHubSet(keys, name, format, task) || ReadOurSet(keys, name, format, task)) {
    // found
  } else if (fs::exists(local, ignored)) {
    ReadLocalSet(local, format, task);
  } else {
    RefuseDataSet(keys, name);
  }
  ReadSplits(keys, format, task);
}

std::vector<SourcedRow> LmEvalRows(const Task& task, std::vector<SourcedRow> rows) {
  const LmEvalFormat& format = *task.lm_eval;
  NameColumns(rows);
  if (format.infers_types && !rows.empty()) {
    std::vector<std::string> columns;
    for (const auto& [name, value] : rows[0].row.items()) columns.push_back(name);
    for (const std::string& column : columns) InferTypes(rows, column);
  }
  if (format.view) rows = format.view->Apply(std::move(rows));
  if (format.process) rows = format.process->Apply(std::move(rows));
  FillFields(rows);
  if (!format.names_subset) return rows;

  for (SourcedRow& row : rows) {
    row.row["subset"] = row.subset;
    row.row["subset_name"] = row.subset;
    for (const auto& [subset, name] : task.subset_names) {
      if (subset == row.subset) row.row["subset_name"] = name;
    }
  }
  return rows;
}

}  // namespace qualm
