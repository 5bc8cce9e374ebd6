// Runs a task on a model: items become requests, requests get answers (from the store where it has
// them, else from the model), answers become scores. What is known at the end is returned.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/item_outcome.h"
#include "evaluate/likelihood_scorer.h"
#include "evaluate/statistics.h"
#include "evaluate/task_requests.h"
#include "generate/generate.h"
#include "results/store.h"
#include "tasks/items.h"

namespace qualm {

struct Context;
struct Model;

struct TaskRunOptions {
  ItemOptions items;
  std::filesystem::path data_folder;
  ScorerOptions scorer;
  EngineOptions generator;
  PromptStyle style;
  bool run_code = false;         // whether programs that the model writes may be run
  ResultStore* store = nullptr;  // null: nothing is kept
  // Called with the files that the items and their metrics are made of, before anything is kept and
  // before the model runs; may throw. Empty: nobody asks.
  std::function<void(InputSet& opened)> on_inputs;
};

struct TaskScore {
  std::string task;
  int version = 1;
  size_t shots = 0;
  std::string part;    // empty: all of it; "category humanities", "subset anatomy"
  std::string metric;  // acc, acc_norm, ...; "_macro" behind it: the mean over subsets
  std::string filter;  // of tasks with several; "exact_match,NAME" is the metric of a further one
  Estimate estimate;
  size_t n = 0;
  double baseline = 0;  // of accuracies: the most frequent right choice, or chance; NaN: none
  size_t near_ties = 0;
  bool is_share = true;  // value and error are 0 to 1; else as published (BLEU: 0 to 100)
  bool is_partial = false;
};

// All that a run knows when it ends. The same whether there is a store or not, except for the
// counts of what was found there.
struct TaskOutcome {
  TaskItems asked;  // the rows, in the order of `items`
  // Of tasks that score continuations, with answers; empty for generation tasks.
  TaskRequests requests;
  // Of generation tasks, with answers; the samples of an item follow one another.
  std::vector<TextRequest> texts;
  std::vector<ItemOutcome> items;
  std::vector<TaskScore> scores;  // the whole task's first

  EvaluationKey key;                  // model, task, and a hash over all prompts
  std::optional<int64_t> evaluation;  // the evaluation's id in the store, if there is one

  std::string note;           // the data set's, where files at hand are a part or a substitute
  std::string first_request;  // ids and pieces of its first and last tokens
  std::vector<std::string> signatures;  // "bleu nrefs:1|...", of metrics that have one
  uint64_t prompts_with_fewer_shots = 0, prompts_truncated = 0;  // overlong ones
  uint64_t answers_found = 0;                                    // in the store
  ScorerCounts counts;                                           // of what was scored
  uint64_t texts_shortened = 0;  // whose max_tokens were cut to half the model's context
  GeneratorCounts generated;     // of what was generated
};

// Overlong prompts lose shots from the last one on, then tokens on the left, after BOS (PROTOCOLS,
// section 8). Throws bad input for data, tokenizers and contexts that do not fit, kFailed for a
// model whose log-likelihoods are not numbers and a store that cannot be written.
TaskOutcome RunTask(const Task& task, const Model& model, const std::string& model_hash,
                    const TaskRunOptions& options, const Context& context);

}  // namespace qualm
