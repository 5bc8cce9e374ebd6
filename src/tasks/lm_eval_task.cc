// From a task file of lm-evaluation-harness, with what it includes, to a Task.
#include "tasks/lm_eval_task.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "tasks/lm_eval_data.h"
#include "tasks/lm_eval_keys.h"
#include "tasks/lm_eval_metrics.h"
#include "tasks/task_keys.h"
#include "tokenize/blanks.h"

namespace qualm {
namespace {

constexpr size_t kMostIncludes = 16;
constexpr std::array<std::string_view, 4> kOutputTypes = {
    "multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until"};

// Keys that mean Python code, or inputs that are not text.
void RefuseWhatNeedsPython(const TaskKeys& keys) {
  constexpr std::pair<std::string_view, std::string_view> kRefused[] = {
      {"process_docs", "rows that need no Python"},
      {"process_results", "scores that need no Python"},
      {"custom_dataset", "rows that need no Python"},
      {"use_prompt", "a prompt that is in the file"},
      {"doc_to_image", "prompts of text"},
      {"doc_to_audio", "prompts of text"}};
  for (const auto& [key, expected] : kRefused) {
    const Yaml* value = keys.Find(key);
    if (value == nullptr) continue;
    const std::string shown = value->kind() == Yaml::Kind::kScalar
                                  ? StrCat(key, ": ", value->AsString())
                                  : std::string(key);
    ThrowBadInput(value->place(), expected, shown, "qualm does not run it");
  }
}

// A decontamination query may be left out of what is asked; without one the harness reads prompts.
void CheckDecontamination(const TaskKeys& keys) {
  const Yaml* asked = keys.Find("should_decontaminate");
  if (asked == nullptr || keys.Find("doc_to_decontamination_query") != nullptr) return;
  if (!LmEvalTruth(*asked)) return;
  ThrowBadInput(asked->place(), "should_decontaminate: false, or doc_to_decontamination_query",
                asked->AsString(), "qualm reports overlap with calibration texts instead");
}

std::string TextOf(const TaskKeys& keys, std::string_view key, std::string otherwise) {
  const Yaml* value = keys.Find(key);
  return value == nullptr ? std::move(otherwise) : value->AsString();
}

RowValue ValueOf(const TaskKeys& keys, std::string_view key) {
  const Yaml* value = keys.Find(key);
  return value == nullptr ? RowValue() : RowValue(*value);
}

// YAML as rows have it: numbers and truth values where they are written plainly.
Json JsonOf(const Yaml& yaml) {
  switch (yaml.kind()) {
    case Yaml::Kind::kNull:
      return nullptr;
    case Yaml::Kind::kScalar:
      return yaml.AsString();
    case Yaml::Kind::kList: {
      Json list = Json::array();
      for (const Yaml& one : yaml.AsList()) list.push_back(JsonOf(one));
      return list;
    }
    case Yaml::Kind::kMap: {
      Json map = Json::object();
      for (const auto& [key, value] : yaml.AsMap()) map[key] = JsonOf(value);
      return map;
    }
  }
  return nullptr;
}

// fewshot_config: what it does not say is as for the scored rows.
void ReadShots(const TaskKeys& keys, LmEvalFormat& format) {
  LmEvalFormat::Shots& shots = format.shots;
  shots.target_delimiter = format.target_delimiter;
  shots.separator = format.separator;
  const Yaml* config = keys.Find("fewshot_config");
  if (config == nullptr) return;

  config->RequireKnownKeys(std::array<std::string, 10>{
      "sampler", "split", "samples", "fewshot_indices", "doc_to_text", "doc_to_choice",
      "doc_to_target", "gen_prefix", "fewshot_delimiter", "target_delimiter"});
  // `fewshot_indices` is known and changes nothing, as in the harness.
  constexpr std::array<std::string_view, 2> kSamplers = {"default", "first_n"};
  shots.takes_first = ChoiceOption(config, "sampler", 0, kSamplers) == 1;
  if (const Yaml* text = config->Find("doc_to_text")) shots.text = RowValue(*text);
  if (const Yaml* target = config->Find("doc_to_target")) shots.target = RowValue(*target);
  if (const Yaml* choices = config->Find("doc_to_choice")) shots.choices = RowValue(*choices);
  if (const Yaml* prefix = config->Find("gen_prefix")) shots.prefix = RowValue(*prefix);
  if (const Yaml* text = config->Find("target_delimiter"))
    shots.target_delimiter = text->AsString();
  if (const Yaml* text = config->Find("fewshot_delimiter")) shots.separator = text->AsString();

  const Yaml* samples = config->Find("samples");
  if (samples == nullptr) return;
  shots.has_samples = true;
  for (const Yaml& sample : samples->AsList()) {
    (void)sample.AsMap();
    shots.samples.push_back(JsonOf(sample));
  }
  if (shots.samples.empty()) ThrowBadInput(samples->place(), "at least one sample", "none");
}

void ReadFormat(const TaskKeys& keys, LmEvalFormat& format) {
  format.text = ValueOf(keys, "doc_to_text");
  format.target = ValueOf(keys, "doc_to_target");
  format.choices = ValueOf(keys, "doc_to_choice");
  format.description = ValueOf(keys, "description");
  format.prefix = ValueOf(keys, "gen_prefix");
  format.target_delimiter = TextOf(keys, "target_delimiter", format.target_delimiter);
  format.separator = TextOf(keys, "fewshot_delimiter", format.separator);

  const std::string prefix = TextOf(keys, "gen_prefix", "");
  format.chat_keeps_delimiter = !prefix.empty() && !EndsInBlank(prefix);
  ReadShots(keys, format);
}

const std::array<std::string, 11> kOwnKeys = {
    "title", "source", "every_subset", "subset_task", "subset_names", "subset_names_of",
    "row",   "group",  "counted",      "metrics",     "prediction"};

// What our own files say in addition.
void ReadExtension(const TaskKeys& keys, LmEvalFormat& format, Task& task) {
  for (const Yaml* map : keys.Maps(kOwnKey)) map->RequireKnownKeys(kOwnKeys);
  if (const Yaml* title = keys.FindIn(kOwnKey, "title")) task.title = title->AsString();
  if (const Yaml* source = keys.FindIn(kOwnKey, "source")) task.harness = source->AsString();
  if (const Yaml* every = keys.FindIn(kOwnKey, "every_subset"))
    format.names_subset = every->AsBool();
  if (const Yaml* name = keys.FindIn(kOwnKey, "subset_task")) format.subset_task = name->AsString();
  if (const Yaml* names = keys.FindIn(kOwnKey, "subset_names")) {
    for (const auto& [subset, name] : names->AsMap()) {
      task.subset_names.emplace_back(subset, name.AsString());
    }
  }
  if (const Yaml* other = keys.FindIn(kOwnKey, "subset_names_of")) {
    task.subset_names = FindTask(other->AsString()).subset_names;
  }
  if (const Yaml* row = keys.FindIn(kOwnKey, "row")) {
    const Yaml* group = keys.FindIn(kOwnKey, "group");
    format.process =
        MakeRowView(row->AsString(), group == nullptr ? "" : group->AsString(), row->place());
  }
  if (const Yaml* counted = keys.FindIn(kOwnKey, "counted")) format.counted = RowValue(*counted);
}

// The kinds of our tasks; a rolling likelihood is a continuation of nothing.
void SetKind(const TaskKeys& keys, Task& task) {
  const Yaml* type = keys.Find("output_type");
  task.output_type = type == nullptr ? "generate_until" : type->AsString();
  if (std::ranges::find(kOutputTypes, task.output_type) == kOutputTypes.end()) {
    ThrowUnknownName(type->place(), "output_type", task.output_type,
                     std::vector<std::string>(kOutputTypes.begin(), kOutputTypes.end()));
  }
  task.kind = task.output_type == "multiple_choice"  ? TaskKind::kMultipleChoice
              : task.output_type == "generate_until" ? TaskKind::kGeneration
                                                     : TaskKind::kContinuation;
}

// metadata.version counts in steps of one; a file without one is version 1.
int VersionOf(const TaskKeys& keys) {
  const Yaml* metadata = keys.Find("metadata");
  const Yaml* version =
      metadata != nullptr && metadata->IsMap() ? metadata->Find("version") : nullptr;
  if (version == nullptr) return 1;
  return std::max(1, static_cast<int>(std::lround(std::floor(version->AsDouble()))));
}

void CheckParts(const TaskKeys& keys, const LmEvalFormat& format, const Task& task) {
  if (!format.text.is_given()) ThrowBadInput(keys.place(), "doc_to_text", "none");
  if (!format.target.is_given()) ThrowBadInput(keys.place(), "doc_to_target", "none");
  if (task.kind == TaskKind::kMultipleChoice && !format.choices.is_given()) {
    ThrowBadInput(keys.place(), "doc_to_choice in a task of multiple choice", "none");
  }
}

TaskKeys KeysOf(std::string_view text, const std::string& place, const IncludeReader& include,
                InputSet& inputs) {
  TaskKeys keys;
  std::vector<IncludedFile> open = {{.place = place, .text = std::string(text)}};
  while (!open.empty()) {
    const IncludedFile file = std::move(open.back());
    open.pop_back();
    Yaml yaml = Yaml::Parse(file.text, file.place);
    CheckLmEvalKeys(yaml);
    const std::string role = StrCat("tasks/include ", keys.size());
    if (keys.size() > 0 && file.is_on_disk) inputs.Add(role, file.place);
    if (keys.size() > 0 && !file.is_on_disk) inputs.AddText(role, file.text);

    // Keys of a later include win over those of an earlier one.
    if (const Yaml* paths = yaml.Find("include")) {
      std::vector<std::string> named;
      if (paths->kind() == Yaml::Kind::kList) {
        for (const Yaml& path : paths->AsList()) named.push_back(path.AsString());
      } else {
        named.push_back(paths->AsString());
      }
      for (const std::string& path : named) open.push_back(include(path, file.place));
    }
    keys.Add(std::move(yaml));
    if (keys.size() > kMostIncludes) {
      ThrowBadInput(place, StrCat("at most ", kMostIncludes, " included files"),
                    "more; does a file include itself?");
    }
  }
  return keys;
}

}  // namespace

bool IsLmEvalTask(const Yaml& yaml) {
  if (!yaml.IsMap()) return false;
  constexpr std::string_view kTelling[] = {"doc_to_text", "output_type", "include", "task",
                                           "dataset_path"};
  return std::ranges::any_of(kTelling,
                             [&](std::string_view key) { return yaml.Find(key) != nullptr; });
}

Task ParseLmEvalTask(std::string_view text, const std::string& place,
                     const IncludeReader& include) {
  Task task;
  const TaskKeys keys = KeysOf(text, place, include, task.inputs);
  RefuseWhatNeedsPython(keys);
  CheckDecontamination(keys);

  task.name = TextOf(keys, "task", "");
  if (task.name.empty()) ThrowBadInput(keys.place(), "task, the task's name", "none");
  task.title = TextOf(keys, "task_alias", task.name);
  task.harness = "lm-evaluation-harness";
  task.version = VersionOf(keys);
  task.separator = TextOf(keys, "fewshot_delimiter", task.separator);
  task.default_fewshot_seed = kLmEvalFewshotSeed;
  task.default_shots = static_cast<size_t>(keys.WholeIn("num_fewshot", 0, 0, 1000));

  auto format = std::make_shared<LmEvalFormat>();
  SetKind(keys, task);
  ReadExtension(keys, *format, task);
  ReadFormat(keys, *format);
  CheckParts(keys, *format, task);
  FindLmEvalData(keys, *format, task);
  ReadLmEvalScoring(keys, task);
  task.lm_eval = std::move(format);
  return task;
}

}  // namespace qualm
