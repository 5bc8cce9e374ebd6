// metric_list, generation_kwargs and repeats in the terms of our tasks.
#include "tasks/lm_eval_metrics.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "tasks/lm_eval_keys.h"
#include "tasks/task.h"
#include "tasks/task_keys.h"

namespace qualm {
namespace {

// The harness's metrics by its output types, and ours that are the same.
struct MetricName {
  std::string_view output_type, name, ours;
};
constexpr MetricName kMetricNames[] = {
    {"multiple_choice", "acc", "acc"},
    {"multiple_choice", "acc_norm", "acc_norm"},
    {"multiple_choice", "acc_bytes", "acc_bytes"},
    {"multiple_choice", "acc_mutual_info", "acc_pmi"},
    {"multiple_choice", "f1", "f1"},
    {"multiple_choice", "mcc", "mcc"},
    {"multiple_choice", "brier_score", ""},  // is reported for every task
    {"loglikelihood", "acc", "acc"},
    {"loglikelihood", "perplexity", "ppl"},
    {"loglikelihood_rolling", "word_perplexity", "word_perplexity"},
    {"loglikelihood_rolling", "byte_perplexity", "byte_perplexity"},
    {"loglikelihood_rolling", "bits_per_byte", "bits_per_byte"},
    {"generate_until", "exact_match", "exact_match"},
    {"generate_until", "bleu", "bleu"},
    {"generate_until", "chrf", "chrf"}};

// What a task has that names no metric (lm_eval's DEFAULT_METRIC_REGISTRY).
std::vector<std::string_view> DefaultMetrics(const std::string& output_type) {
  if (output_type == "multiple_choice") return {"acc", "acc_norm"};
  if (output_type == "loglikelihood") return {"ppl", "acc"};
  if (output_type == "generate_until") return {"exact_match"};
  return {"word_perplexity", "byte_perplexity", "bits_per_byte"};
}

// Each metric has one aggregation here; a file may name it.
void CheckAggregation(const Yaml& metric, std::string_view name) {
  const Yaml* aggregation = metric.Find("aggregation");
  if (aggregation == nullptr) return;
  std::vector<std::string> allowed = {"mean"};
  if (name == "perplexity") allowed = {"perplexity"};
  if (name == "word_perplexity" || name == "byte_perplexity") allowed = {"weighted_perplexity"};
  if (name == "bits_per_byte") allowed = {"bits_per_byte"};
  if (name == "f1" || name == "bleu" || name == "chrf") allowed = {std::string(name)};
  if (name == "mcc") allowed = {"matthews_corrcoef", "mcc"};
  if (name == "brier_score") allowed = {"brier_score"};
  if (std::ranges::find(allowed, aggregation->AsString()) != allowed.end()) return;
  ThrowUnknownName(aggregation->place(), StrCat("aggregation of ", name), aggregation->AsString(),
                   allowed);
}

// filter_list: [{name: NAME, filter: [{function: ...}]}], the first being the main one. Without it
// the first text counts as it is.
std::vector<AnswerFilter> ReadFilters(const TaskKeys& keys) {
  const Yaml* prediction = keys.FindIn(kOwnKey, "prediction");
  std::vector<AnswerFilter> filters;
  if (prediction != nullptr) {
    filters.push_back(AnswerFilter::OfTemplate(prediction->AsString(), prediction->place()));
    return filters;
  }
  const Yaml* list = keys.Find("filter_list");
  if (list == nullptr) {
    const Yaml first = Yaml::Parse("[{function: take_first}]", keys.place());
    filters.emplace_back("none", first);
    return filters;
  }
  for (const Yaml& filter : list->AsList()) {
    filter.RequireKnownKeys(std::array<std::string, 2>{"name", "filter"});
    filters.emplace_back(filter.Get("name").AsString(), filter.Get("filter"));
  }
  if (filters.empty()) ThrowBadInput(list->place(), "a filter", "none");
  return filters;
}

void ReadMetric(const Yaml& metric, Task& task) {
  const std::string name = metric.Get("metric").AsString();
  std::vector<std::string> known;
  const MetricName* found = nullptr;
  for (const MetricName& one : kMetricNames) {
    if (one.output_type != task.output_type) continue;
    known.emplace_back(one.name);
    if (one.name == name) found = &one;
  }
  if (found == nullptr) {
    ThrowUnknownName(metric.Get("metric").place(), StrCat("metric of ", task.output_type), name,
                     known);
  }

  if (name == "exact_match") {
    metric.RequireKnownKeys(std::array<std::string, 7>{"metric", "aggregation", "higher_is_better",
                                                       "ignore_case", "ignore_punctuation",
                                                       "ignore_numbers", "regexes_to_ignore"});
    task.generation.exact_match = ReadExactMatchOptions(metric);
  } else {
    metric.RequireKnownKeys(
        std::array<std::string, 3>{"metric", "aggregation", "higher_is_better"});
  }
  CheckAggregation(metric, name);
  const std::string ours(found->ours);
  if (!ours.empty() && std::ranges::find(task.metrics, ours) == task.metrics.end()) {
    task.metrics.push_back(ours);
  }
}

void ReadMetrics(const TaskKeys& keys, Task& task) {
  // Our own files may name metrics of ours that the harness has as Python code.
  if (const Yaml* list = keys.FindIn(kOwnKey, "metrics")) {
    for (const Yaml& metric : list->AsList()) {
      task.metrics.push_back(RequireTaskMetric(metric, task.kind));
    }
    return;
  }
  if (const Yaml* list = keys.Find("metric_list")) {
    for (const Yaml& metric : list->AsList()) ReadMetric(metric, task);
  }
  if (!task.metrics.empty()) return;
  for (std::string_view metric : DefaultMetrics(task.output_type))
    task.metrics.emplace_back(metric);
}

void ReadStops(const Yaml* until, GenerationSpec& spec) {
  if (until == nullptr) return;
  spec.stop.clear();
  if (until->kind() == Yaml::Kind::kList) {
    for (const Yaml& one : until->AsList()) spec.stop.push_back(one.AsString());
  } else {
    spec.stop.push_back(until->AsString());
  }
  // The harness stops at an empty text nowhere.
  std::erase(spec.stop, "");
}

GenerationSpec ReadGeneration(const TaskKeys& keys, const std::string& separator) {
  GenerationSpec spec;
  spec.max_tokens = 256;
  spec.stop = {separator};
  if (const Yaml* options = keys.Find("generation_kwargs")) {
    options->RequireKnownKeys(std::array<std::string, 8>{"until", "max_gen_toks", "max_tokens",
                                                         "max_new_tokens", "max_completion_tokens",
                                                         "do_sample", "temperature", "top_p"});
    ReadStops(options->Find("until"), spec);
    for (std::string_view key :
         {"max_completion_tokens", "max_tokens", "max_new_tokens", "max_gen_toks"}) {
      spec.max_tokens = static_cast<size_t>(
          IntOption(options, key, static_cast<int64_t>(spec.max_tokens), 1, int64_t{1} << 20));
    }
    // As the harness has it: a temperature without do_sample asks for drawn texts.
    const Yaml* sample = options->Find("do_sample");
    const bool is_drawn = sample != nullptr ? LmEvalTruth(*sample)
                                            : NumberOption(options, "temperature", 0, 0, 100) > 0;
    if (is_drawn) {
      spec.temperature = NumberOption(options, "temperature", 1, 0, 100);
      spec.top_p = NumberOption(options, "top_p", 1, 1e-6, 1);
    }
  }

  // Greedy texts are all the same: one of them stands for all.
  const int64_t repeats = keys.WholeIn("repeats", 1, 1, 1000);
  spec.samples = spec.temperature > 0 ? static_cast<size_t>(repeats) : 1;
  return spec;
}

}  // namespace

void ReadLmEvalScoring(const TaskKeys& keys, Task& task) {
  // Options of generation are read whatever the task is: a mistake in them is an error.
  GenerationSpec spec = ReadGeneration(keys, task.separator);
  if (task.kind == TaskKind::kGeneration) {
    spec.filters = ReadFilters(keys);
    task.generation = std::move(spec);
  }
  ReadMetrics(keys, task);
}

}  // namespace qualm
