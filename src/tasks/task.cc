#include "tasks/task.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "io/yaml.h"
#include "metrics/text_metrics.h"
#include "tasks/embedded_tasks.h"

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
    {"acc_pmi", "the same, minus the log-likelihood behind nothing", TaskKind::kMultipleChoice},
    {"acc", "share of continuations that are what the model would say", TaskKind::kContinuation},
    {"ppl", "exp of the mean negative log-likelihood of a continuation", TaskKind::kContinuation},
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
  const Yaml* prediction = yaml.Find("prediction");
  spec.prediction = prediction == nullptr ? Template("{generated|strip}", yaml.place())
                                          : Template(prediction->AsString(), prediction->place());
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

void ReadMetrics(const Yaml& yaml, Task& task) {
  std::vector<std::string> known;
  for (const MetricEntry& metric : AllTaskMetrics()) {
    if (metric.kind == task.kind) known.emplace_back(metric.name);
  }
  for (const Yaml& metric : yaml.Get("metrics").AsList()) {
    task.metrics.push_back(metric.AsString());
    if (std::ranges::find(known, task.metrics.back()) != known.end()) continue;
    ThrowUnknownName(metric.place(), "metric", task.metrics.back(), known);
  }
  if (task.metrics.empty()) ThrowBadInput(yaml.Get("metrics").place(), "a metric", "none");
}

std::string_view StemOf(const EmbeddedFile& file) {
  return file.name.substr(0, file.name.size() - std::string_view(".yaml").size());
}

}  // namespace

Task ParseTask(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  yaml.RequireKnownKeys(std::array<std::string, 16>{
      "name", "title", "version", "harness", "kind", "data", "shots", "header", "context",
      "continuation", "choices", "answer", "metrics", "generate", "prediction", "references"});
  Task task;
  task.name = yaml.Get("name").AsString();
  task.title = yaml.Get("title").AsString();
  task.version = static_cast<int>(IntOption(&yaml, "version", 1, 1, 1000000));
  task.harness = TextOf(yaml, "harness");
  task.kind = static_cast<TaskKind>(ChoiceOption(&yaml, "kind", 0, kKindNames));
  constexpr std::array<std::string_view, 2> kChoiceKeys = {"choices", "answer"};
  constexpr std::array<std::string_view, 3> kGenerationKeys = {"generate", "prediction",
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

std::vector<std::string> TaskNames() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedTasks()) names.emplace_back(StemOf(file));
  return names;
}

std::string TaskTitle(std::string_view name) {
  for (const EmbeddedFile& file : EmbeddedTasks()) {
    if (StemOf(file) == name) return Yaml::Parse(file.text, file.name).Get("title").AsString();
  }
  return "";
}

Task FindTask(const std::string& name_or_path) {
  for (const EmbeddedFile& file : EmbeddedTasks()) {
    if (StemOf(file) != name_or_path) continue;
    Task task = ParseTask(file.text, file.name);
    task.inputs.AddText(StrCat("tasks/", file.name), file.text);
    return task;
  }
  if (name_or_path.ends_with(".yaml") || name_or_path.find('/') != std::string::npos) {
    Task task = ParseTask(ReadFile(name_or_path, uint64_t{1} << 20), name_or_path);
    const std::filesystem::path path = name_or_path;
    task.inputs.Add(StrCat("tasks/", path.filename().string()), path);
    return task;
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
