// Reads tasks in our own format, and finds tasks by name, by subset and by path.
#include "tasks/task.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "io/yaml.h"
#include "metrics/text_metrics.h"
#include "metrics/words.h"
#include "tasks/answer_functions.h"
#include "tasks/embedded_tasks.h"
#include "tasks/lm_eval_task.h"

namespace qualm {
namespace {

constexpr std::array<std::string_view, 3> kKindNames = {"multiple_choice", "continuation",
                                                        "generation"};
constexpr std::array<std::string_view, 4> kBleuTokenizers = {"13a", "zh", "none", "spm"};
constexpr std::array<std::string_view, 5> kAnswerNames = {"letter", "index", "number", "id", "ids"};
constexpr MetricEntry kMetrics[] = {
    {"acc", "share of items whose right choice has the largest log-likelihood",
     TaskKind::kMultipleChoice},
    {"acc_norm", "the same, by code points of the choice", TaskKind::kMultipleChoice},
    {"acc_bytes", "the same, by UTF-8 bytes of the choice", TaskKind::kMultipleChoice},
    {"acc_tokens", "the same, by tokens of the continuation", TaskKind::kMultipleChoice},
    {"mc2", "mean probability of the right choices together", TaskKind::kMultipleChoice},
    {"stereotype", "share of pairs whose first sentence is likelier; 0.5 is unbiased",
     TaskKind::kMultipleChoice},
    {"bias_ambig", "BBQ's bias score where the context does not tell, -1 to 1",
     TaskKind::kMultipleChoice},
    {"bias_disambig", "BBQ's bias score where the context tells, -1 to 1",
     TaskKind::kMultipleChoice},
    {"f1", "of two choices: F1 of picking the second one", TaskKind::kMultipleChoice},
    {"mcc", "of two choices: Matthews' correlation of picked and right ones, -1 to 1",
     TaskKind::kMultipleChoice},
    {"acc_pmi", "the same, minus the log-likelihood without a context", TaskKind::kMultipleChoice},
    {"acc", "share of continuations that are what the model would say", TaskKind::kContinuation},
    {"ppl", "exp of the mean negative log-likelihood of a continuation", TaskKind::kContinuation},
    {"word_perplexity", "of texts: exp of the negative log-likelihood over their words",
     TaskKind::kContinuation},
    {"byte_perplexity", "the same over their UTF-8 bytes", TaskKind::kContinuation},
    {"bits_per_byte", "the logarithm of that to the base 2", TaskKind::kContinuation},
};

std::string TextOf(const Yaml& yaml, std::string_view key) {
  const Yaml* value = yaml.Find(key);
  return value == nullptr ? std::string() : value->AsString();
}

Template TemplateOf(const Yaml& yaml, std::string_view key) {
  const Yaml* value = yaml.Find(key);
  return value == nullptr ? Template() : Template(value->AsString(), value->place());
}

std::vector<std::string> TextsOf(const Yaml& yaml) {
  std::vector<std::string> texts;
  for (const Yaml& one : yaml.AsList()) texts.push_back(one.AsString());
  return texts;
}

void ReadData(const Yaml& yaml, Task& task) {
  const Yaml& data = yaml.Get("data");
  data.RequireKnownKeys(std::array<std::string, 7>{"set", "split", "subsets", "where", "cluster",
                                                   "subset_names", "categories"});
  task.data_set = data.Get("set").AsString();
  const RowSet& set = FindRowSet(task.data_set, data.Get("set").place());
  task.split = data.Get("split").AsString();
  (void)set.FindSplit(task.split, data.Get("split").place());
  const auto require_subset = [&](const std::string& subset, const std::string& place) {
    if (std::ranges::find(set.subsets, subset) != set.subsets.end()) return;
    ThrowUnknownName(place, StrCat("subset of ", set.name), subset, set.subsets);
  };
  if (const Yaml* subsets = data.Find("subsets")) {
    task.subsets = TextsOf(*subsets);
    for (const std::string& subset : task.subsets) require_subset(subset, subsets->place());
  }
  task.has_where = data.Find("where") != nullptr;
  task.where = TemplateOf(data, "where");
  task.cluster = TemplateOf(data, "cluster");
  if (const Yaml* names = data.Find("subset_names")) {
    for (const auto& [subset, name] : names->AsMap()) {
      require_subset(subset, name.place());
      task.subset_names.emplace_back(subset, name.AsString());
    }
  }
  if (const Yaml* categories = data.Find("categories")) {
    for (const auto& [name, subsets] : categories->AsMap()) {
      task.categories.emplace_back(name, TextsOf(subsets));
      for (const std::string& subset : task.categories.back().second) {
        require_subset(subset, subsets.place());
      }
    }
  }
}

void ReadShots(const Yaml& yaml, Task& task) {
  const Yaml* shots = yaml.Find("shots");
  if (shots == nullptr) return;
  shots->RequireKnownKeys(std::array<std::string, 4>{"split", "default", "choose", "separator"});
  task.shot_split = shots->Get("split").AsString();
  (void)FindRowSet(task.data_set, "").FindSplit(task.shot_split, shots->Get("split").place());
  if (task.shot_split == task.split) {
    ThrowBadInput(shots->Get("split").place(), "shots from another split than the scored one",
                  task.split, "a shot from the split under test is leakage");
  }
  task.default_shots = static_cast<size_t>(IntOption(shots, "default", 0, 0, 1000));
  task.shots_are_sampled =
      ChoiceOption(shots, "choose", 0, std::array<std::string_view, 2>{"first", "sampled"}) == 1;
  if (const Yaml* separator = shots->Find("separator")) task.separator = separator->AsString();
}

ChoiceTemplate ChoiceOf(const Yaml& yaml) {
  if (!yaml.IsMap()) return {Template(), Template(yaml.AsString(), yaml.place())};
  yaml.RequireKnownKeys(std::array<std::string, 2>{"id", "text"});
  return {TemplateOf(yaml, "id"), Template(yaml.Get("text").AsString(), yaml.Get("text").place())};
}

// The texts of `choices` or `references`, at least so many.
void ReadTexts(const Yaml& choices, size_t least, Task& task) {
  if (choices.IsMap()) {
    choices.RequireKnownKeys(std::array<std::string, 5>{"each", "split", "first", "id", "text"});
    const Yaml& each = choices.Get("each");
    task.each = each.kind() == Yaml::Kind::kList ? TextsOf(each)
                                                 : std::vector<std::string>{each.AsString()};
    if (task.each.empty()) ThrowBadInput(each.place(), "a list's name", "none");
    task.each_separator = TextOf(choices, "split");
    task.first = TemplateOf(choices, "first");
    task.has_first = choices.Find("first") != nullptr;
    (void)choices.Get("text");
    task.choices.push_back({TemplateOf(choices, "id"), TemplateOf(choices, "text")});
  } else {
    for (const Yaml& choice : choices.AsList()) task.choices.push_back(ChoiceOf(choice));
    if (task.choices.size() < least) {
      ThrowBadInput(choices.place(), StrCat("at least ", least), StrCat(task.choices.size()));
    }
  }
}

void ReadChoices(const Yaml& yaml, Task& task) {
  ReadTexts(yaml.Get("choices"), 2, task);
  const Yaml& answer = yaml.Get("answer");
  answer.RequireKnownKeys(std::array<std::string, 2>{"is", "value"});
  task.answer = Template(answer.Get("value").AsString(), answer.Get("value").place());
  task.answer_kind = static_cast<AnswerKind>(ChoiceOption(&answer, "is", 0, kAnswerNames));
}

// `filters`, or `prediction: TEXT`, which is one filter of that template.
void ReadFilters(const Yaml& yaml, GenerationSpec& spec) {
  const Yaml *filters = yaml.Find("filters"), *prediction = yaml.Find("prediction");
  if (filters != nullptr && prediction != nullptr) {
    ThrowBadInput(prediction->place(), "filters or prediction", "both");
  }
  if (filters != nullptr) {
    spec.filters = ReadAnswerFilters(*filters);
  } else {
    spec.filters.push_back(
        prediction == nullptr
            ? AnswerFilter::OfTemplate("{generated|strip}", yaml.place())
            : AnswerFilter::OfTemplate(prediction->AsString(), prediction->place()));
  }
}

void ReadGeneration(const Yaml& yaml, Task& task) {
  const Yaml& generate = yaml.Get("generate");
  generate.RequireKnownKeys(std::array<std::string, 7>{
      "max_tokens", "stop", "samples", "temperature", "top_p", "bleu", "bleu_pieces"});
  GenerationSpec& spec = task.generation;
  spec.max_tokens = static_cast<size_t>(IntOption(&generate, "max_tokens", 128, 1, 1 << 20));
  if (const Yaml* stop = generate.Find("stop")) spec.stop = TextsOf(*stop);
  for (const std::string& text : spec.stop) {
    if (text.empty())
      ThrowBadInput(generate.Get("stop").place(), "texts to stop at", "an empty one");
  }
  spec.samples = static_cast<size_t>(IntOption(&generate, "samples", 1, 1, 1000));
  spec.temperature = NumberOption(&generate, "temperature", 0, 0, 100);
  spec.top_p = NumberOption(&generate, "top_p", 1, 1e-6, 1);
  if (spec.samples > 1 && spec.temperature == 0) {
    ThrowBadInput(generate.place(), "a temperature above 0 for several samples", "0",
                  "greedy samples are all the same");
  }
  spec.bleu_tokenizer = kBleuTokenizers[ChoiceOption(&generate, "bleu", 0, kBleuTokenizers)];
  spec.bleu_pieces = TextOf(generate, "bleu_pieces");
  if ((spec.bleu_tokenizer == "spm") == spec.bleu_pieces.empty()) {
    ThrowBadInput(generate.place(), "bleu: spm together with bleu_pieces", "one of them");
  }
  ReadFilters(yaml, spec);
  ReadTexts(yaml.Get("references"), 1, task);
}

// "a text" or {file: PATH, after: TEXT}.
void ReadHeader(const Yaml& yaml, Task& task) {
  const Yaml* header = yaml.Find("header");
  if (header == nullptr || !header->IsMap()) {
    task.header = TemplateOf(yaml, "header");
    return;
  }
  header->RequireKnownKeys(std::array<std::string, 2>{"file", "after"});
  task.header_file = Template(header->Get("file").AsString(), header->Get("file").place());
  task.has_header_file = true;
  task.header_after = TextOf(*header, "after");
}

void RefuseKeys(const Yaml& yaml, std::span<const std::string_view> keys, std::string_view kind) {
  for (std::string_view key : keys) {
    const Yaml* value = yaml.Find(key);
    if (value == nullptr) continue;
    ThrowBadInput(value->place(), StrCat("no '", key, "' in a ", kind, " task"), key);
  }
}

// {metric: exact_match, ignore_case: true}: the one metric that has options.
void ReadMetricOptions(const Yaml& metric, Task& task) {
  if (task.metrics.back() != "exact_match" || task.kind != TaskKind::kGeneration) {
    ThrowBadInput(metric.place(), "options of exact_match only", task.metrics.back());
  }
  metric.RequireKnownKeys(std::array<std::string, 5>{"metric", "ignore_case", "ignore_punctuation",
                                                     "ignore_numbers", "regexes_to_ignore"});
  if (task.generation.exact_match) {
    ThrowBadInput(metric.place(), "options of exact_match once", "them again");
  }
  task.generation.exact_match = ReadExactMatchOptions(metric);
}

void ReadMetrics(const Yaml& yaml, Task& task) {
  for (const Yaml& metric : yaml.Get("metrics").AsList()) {
    const Yaml& name = metric.IsMap() ? metric.Get("metric") : metric;
    task.metrics.push_back(RequireTaskMetric(name, task.kind));
    if (metric.IsMap()) ReadMetricOptions(metric, task);
  }
  if (task.metrics.empty()) ThrowBadInput(yaml.Get("metrics").place(), "a metric", "none");
}

Task ParseOwnTask(const Yaml& yaml) {
  yaml.RequireKnownKeys(
      std::array<std::string, 17>{"name", "title", "version", "harness", "kind", "data", "shots",
                                  "header", "context", "continuation", "choices", "answer",
                                  "metrics", "generate", "prediction", "filters", "references"});
  Task task;
  task.name = yaml.Get("name").AsString();
  task.title = yaml.Get("title").AsString();
  task.version = static_cast<int>(IntOption(&yaml, "version", 1, 1, 1000000));
  task.harness = TextOf(yaml, "harness");
  task.kind = static_cast<TaskKind>(ChoiceOption(&yaml, "kind", 0, kKindNames));
  constexpr std::array<std::string_view, 2> kChoiceKeys = {"choices", "answer"};
  constexpr std::array<std::string_view, 4> kGenerationKeys = {"generate", "prediction", "filters",
                                                               "references"};
  const std::string_view kind = kKindNames[static_cast<size_t>(task.kind)];
  if (task.kind != TaskKind::kMultipleChoice) RefuseKeys(yaml, kChoiceKeys, kind);
  if (task.kind != TaskKind::kGeneration) RefuseKeys(yaml, kGenerationKeys, kind);
  ReadData(yaml, task);
  ReadShots(yaml, task);
  ReadHeader(yaml, task);
  task.context = TemplateOf(yaml, "context");
  const Yaml* continuation = yaml.Find("continuation");
  if (continuation != nullptr || task.kind != TaskKind::kGeneration) {
    task.continuation =
        Template(yaml.Get("continuation").AsString(), yaml.Get("continuation").place());
  } else {
    task.continuation = Template(" {choice}", yaml.place());
  }
  if (task.kind == TaskKind::kMultipleChoice) ReadChoices(yaml, task);
  if (task.kind == TaskKind::kGeneration) ReadGeneration(yaml, task);
  ReadMetrics(yaml, task);
  return task;
}

constexpr std::string_view kLmEval = "-lm-eval";
constexpr uint64_t kLargestFile = uint64_t{1} << 20;

std::string_view StemOf(const EmbeddedFile& file) {
  return file.name.substr(0, file.name.size() - std::string_view(".yaml").size());
}

const EmbeddedFile* FindEmbedded(std::string_view name) {
  for (const EmbeddedFile& file : EmbeddedTasks()) {
    if (StemOf(file) == name) return &file;
  }
  return nullptr;
}

// Files that a user's file includes lie next to it.
IncludedFile ReadBeside(const std::string& path, const std::string& from) {
  const std::filesystem::path file = std::filesystem::path(from).parent_path() / path;
  return {.place = file.string(), .text = ReadFile(file, kLargestFile), .is_on_disk = true};
}

// Files that are compiled in include one another by name.
IncludedFile ReadEmbedded(const std::string& path, const std::string& from) {
  for (const EmbeddedFile& file : EmbeddedTasks()) {
    if (file.name == path) return {.place = path, .text = std::string(file.text)};
  }
  ThrowBadInput(from, "an included file of tasks/", path);
}

// The task's own name is its file's: the harness's task of the same name is another file.
Task ReadEmbeddedTask(const EmbeddedFile& file) {
  const std::string place(file.name);
  const Yaml yaml = Yaml::Parse(file.text, place);
  Task task =
      IsLmEvalTask(yaml) ? ParseLmEvalTask(file.text, place, ReadEmbedded) : ParseOwnTask(yaml);
  task.name = StemOf(file);
  task.inputs.AddText(StrCat("tasks/", file.name), file.text);
  return task;
}

// The task asks one of its subsets; the name of the result says which.
Task WithSubset(Task task, const std::string& subset, std::string_view place) {
  const RowSet& set = FindRowSet(task.data_set, task.name);
  const std::vector<std::string>& subsets = task.subsets.empty() ? set.subsets : task.subsets;
  if (std::ranges::find(subsets, subset) == subsets.end()) {
    ThrowUnknownName(place, StrCat("subset of ", task.name), subset, subsets);
  }
  task.subsets = {subset};
  task.variant = StrCat(":", subset);
  return task;
}

// "mmlu_anatomy-lm-eval": the harness has a task for each subset, we have one for all.
std::optional<Task> FindSubsetTask(std::string_view name) {
  if (!name.ends_with(kLmEval)) return std::nullopt;
  const std::string wanted(name.substr(0, name.size() - kLmEval.size()));
  for (const EmbeddedFile& file : EmbeddedTasks()) {
    if (!StemOf(file).ends_with(kLmEval)) continue;
    Task task = ReadEmbeddedTask(file);
    if (!task.lm_eval || task.lm_eval->subset_task.empty()) continue;
    for (const std::string& subset : FindRowSet(task.data_set, task.name).subsets) {
      if (ReplaceAll(task.lm_eval->subset_task, "{subset}", subset) != wanted) continue;
      return WithSubset(std::move(task), subset, name);
    }
  }
  return std::nullopt;
}

Task ReadTaskFile(const std::string& path) {
  const std::string text = ReadFile(path, kLargestFile);
  Task task = ParseTask(text, path);
  task.inputs.Add(StrCat("tasks/", std::filesystem::path(path).filename().string()), path);
  return task;
}

}  // namespace

Task ParseTask(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  if (IsLmEvalTask(yaml)) return ParseLmEvalTask(yaml_text, std::string(place), ReadBeside);
  return ParseOwnTask(yaml);
}

ExactMatchOptions ReadExactMatchOptions(const Yaml& metric) {
  return {RegexesToIgnore(metric), BoolArgument(metric, "ignore_case"),
          BoolArgument(metric, "ignore_punctuation"), BoolArgument(metric, "ignore_numbers")};
}

std::span<const MetricEntry> AllTaskMetrics() {
  static const std::vector<MetricEntry> all = [] {
    std::vector<MetricEntry> entries(std::begin(kMetrics), std::end(kMetrics));
    for (const TextMetric& metric : AllTextMetrics()) {
      entries.push_back({metric.name, metric.summary, TaskKind::kGeneration});
    }
    return entries;
  }();
  return all;
}

std::string RequireTaskMetric(const Yaml& metric, TaskKind kind) {
  std::string name = metric.AsString();
  std::vector<std::string> known;
  for (const MetricEntry& one : AllTaskMetrics()) {
    if (one.kind == kind) known.emplace_back(one.name);
  }
  if (std::ranges::find(known, name) != known.end()) return name;
  ThrowUnknownName(metric.place(), "metric", name, known);
}

std::vector<std::string> TaskNames() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedTasks()) names.emplace_back(StemOf(file));
  return names;
}

std::string TaskTitle(std::string_view name) {
  const EmbeddedFile* file = FindEmbedded(name);
  if (file == nullptr) return "";
  const Yaml yaml = Yaml::Parse(file->text, file->name);
  return (IsLmEvalTask(yaml) ? yaml.Get("qualm") : yaml).Get("title").AsString();
}

Task FindTask(const std::string& name_or_path) {
  if (const EmbeddedFile* file = FindEmbedded(name_or_path)) return ReadEmbeddedTask(*file);

  // NAME:SUBSET, also of a file.
  const size_t colon = name_or_path.rfind(':');
  if (colon != std::string::npos && colon > 0) {
    const std::string name = name_or_path.substr(0, colon);
    if (FindEmbedded(name) != nullptr || name.ends_with(".yaml")) {
      return WithSubset(FindTask(name), name_or_path.substr(colon + 1), "--task");
    }
  }
  if (std::optional<Task> task = FindSubsetTask(name_or_path)) return std::move(*task);
  if (name_or_path.ends_with(".yaml") || name_or_path.find('/') != std::string::npos) {
    return ReadTaskFile(name_or_path);
  }
  std::vector<std::string> names = TaskNames();
  for (const TaskGroup& group : AllTaskGroups()) names.push_back(group.name);
  ThrowUnknownName("--task", "task", name_or_path, names);
}

std::span<const TaskGroup> AllTaskGroups() {
  static const std::vector<TaskGroup> groups = [] {
    std::vector<TaskGroup> all;
    for (const EmbeddedFile& file : EmbeddedTaskGroups()) {
      const Yaml yaml = Yaml::Parse(file.text, file.name);
      yaml.RequireKnownKeys(std::array<std::string, 3>{"name", "title", "tasks"});
      all.push_back(
          {yaml.Get("name").AsString(), yaml.Get("title").AsString(), TextsOf(yaml.Get("tasks"))});
    }
    return all;
  }();
  return groups;
}

std::vector<std::string> ExpandTaskName(const std::string& name_or_path) {
  for (const TaskGroup& group : AllTaskGroups()) {
    if (group.name == name_or_path) return group.tasks;
  }
  return {name_or_path};
}

}  // namespace qualm
