// A task: what is asked of a data set's rows, and how. tasks/*.yaml, compiled in; a path of a file
// of the user's works wherever a name does. Semantics: docs/tasks.md.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/input_set.h"
#include "metrics/exact_match.h"
#include "tasks/answer_filters.h"
#include "tasks/template.h"

namespace qualm {

class Yaml;
struct LmEvalFormat;

enum class TaskKind : uint8_t {
  kMultipleChoice,  // the likeliest of several continuations
  kContinuation,    // the likelihood of one, and whether it is what the model would say
  kGeneration,      // what the model says by itself, measured against references
};

// How `answer` names the right choice.
enum class AnswerKind : uint8_t {
  kLetter,  // A, B, ...
  kIndex,   // 0, 1, ...
  kNumber,  // 1, 2, ...
  kId,      // the `id` of a choice
  kIds,     // the `id` of all choices that are right
};

struct ChoiceTemplate {
  Template id, text;
};

// How a text is generated and read; of generation tasks only.
struct GenerationSpec {
  size_t max_tokens = 128;
  std::vector<std::string> stop;  // it ends before the first of these
  size_t samples = 1;             // texts for each row
  double temperature = 0, top_p = 1;
  std::string bleu_tokenizer = "13a";  // 13a, zh, none, spm
  std::string bleu_pieces;             // spm: the model's file below the data folder
  // What is taken from the texts as answers. Metrics of the first one have their plain names, those
  // of the others are called "exact_match,NAME".
  std::vector<AnswerFilter> filters;
  // Of the metric exact_match where the task gives it options; else texts must be equal.
  std::optional<ExactMatchOptions> exact_match;
};

struct Task {
  std::string name, title;
  // In which way it is asked beyond the file: ":anatomy" for one subset, "@llama2" for a chat
  // template. With and without are two results.
  std::string variant;
  int version = 1;
  std::string harness;  // whose prompt it is: "hendrycks/test", a paper
  TaskKind kind = TaskKind::kMultipleChoice;
  std::string data_set, split;
  std::vector<std::string> subsets;  // those it asks; empty: all of the set's
  std::vector<std::pair<std::string, std::string>> subset_names;  // for people: {subset_name}
  std::vector<std::pair<std::string, std::vector<std::string>>> categories;  // name, subsets
  Template where;  // rows whose rendering is empty are not asked; the empty template: all are
  bool has_where = false;
  Template cluster;  // rows that share a rendering share a passage; empty: the subset

  std::string shot_split;  // empty: no shots can be given
  size_t default_shots = 0;
  bool shots_are_sampled = false;  // by --fewshot-seed; else the first ones
  uint64_t default_fewshot_seed = 0;
  std::string separator = "\n\n";  // behind each shot

  Template header, context, continuation;
  Template header_file;  // a file below the data folder in place of a header
  bool has_header_file = false;
  std::string header_after;  // what stands in front of the header in that file
  // Paths of the lists of choices in a row; empty: `choices` has them. {list} is the path that a
  // choice came from.
  std::vector<std::string> each;
  // What separates the choices where `each` is a text; empty: it is a list.
  std::string each_separator;
  Template first;  // a choice in front of those of `each`
  bool has_first = false;
  // One for every choice, or one for all of `each`; of generation tasks: the references.
  std::vector<ChoiceTemplate> choices;
  Template answer;
  AnswerKind answer_kind = AnswerKind::kLetter;
  std::vector<std::string> metrics;  // the first is the task's main one
  GenerationSpec generation;
  InputSet inputs;  // the text that it was read from, when FindTask found it

  // Of tasks in the format of lm-evaluation-harness (tasks/lm_eval_task.h): how rows become
  // prompts, in place of the templates above, and which kind of request the harness calls it. Else
  // null and empty.
  std::shared_ptr<const LmEvalFormat> lm_eval;
  std::string output_type;
};

// Whether the task's texts are scored by themselves, without a prompt: there are neither examples
// nor chat templates nor system texts, as the harness has none for loglikelihood_rolling.
inline bool IsRolling(const Task& task) { return task.output_type == "loglikelihood_rolling"; }

// The seed of the harness's examples where none is given.
inline constexpr uint64_t kLmEvalFewshotSeed = 1234;

// The options of exact_match in a metric that is a map: {metric: exact_match, ignore_case: true,
// ...}. Reads ignore_case, ignore_punctuation, ignore_numbers and regexes_to_ignore; other keys are
// the caller's to check.
ExactMatchOptions ReadExactMatchOptions(const Yaml& metric);

// Strict: an unknown key, filter, metric or data set is bad input with its line. Reads our own
// format and, told apart by its keys, that of lm-evaluation-harness.
Task ParseTask(std::string_view yaml_text, std::string_view place);

// What a task may ask for.
struct MetricEntry {
  const char* name;
  const char* summary;
  TaskKind kind;
};
std::span<const MetricEntry> AllTaskMetrics();

// The metric's name. Throws bad input with the nearest one for a metric that tasks of the kind do
// not have.
std::string RequireTaskMetric(const Yaml& metric, TaskKind kind);

// Names of those compiled in, by name, and of groups.
std::vector<std::string> TaskNames();
std::string TaskTitle(std::string_view name);
// A built-in one or a path of a .yaml file. NAME:SUBSET asks one subset of the task alone.
Task FindTask(const std::string& name_or_path);

// Scores that are shown together: tasks/groups/*.yaml.
struct TaskGroup {
  std::string name, title;
  std::vector<std::string> tasks;
};
std::span<const TaskGroup> AllTaskGroups();
// Tasks for a name: itself, or the members of a group.
std::vector<std::string> ExpandTaskName(const std::string& name_or_path);

}  // namespace qualm
