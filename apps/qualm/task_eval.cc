// qualm eval on tasks: asks a model and perhaps a reference, and prints scores, comparisons and
// distances as tables or JSON. `qualm compare` prints comparisons of stored evaluations with the
// same functions.
#include "task_eval.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "chat/chat_template.h"
#include "chat_flags.h"
#include "data/named_corpora.h"
#include "evaluate/comparison.h"
#include "evaluate/protocol_record.h"
#include "evaluate/task_distance.h"
#include "evaluate/task_run.h"
#include "model/hub_cache.h"
#include "model/model.h"
#include "results/store.h"
#include "task_list.h"
#include "tensor/isa.h"

namespace qualm::cli {
namespace {

// A share without its sign, for table cells; "-" for a number that does not exist.
std::string Percent(double share) { return std::isnan(share) ? "-" : Fixed(100 * share, 2); }

// Accuracies and calibration errors are shares; perplexities, Brier scores and BLEU are not.
std::string NumberText(const TaskScore& score, double value) {
  if (score.metric == "ppl" || score.metric == "brier" || !score.is_share) return Fixed(value, 4);
  return StrCat(Percent(value), " %");
}

// Empty for metrics without a standard error.
std::string ErrorText(const TaskScore& score) {
  const double error = score.estimate.standard_error;
  return std::isnan(error) ? "" : StrCat("± ", NumberText(score, error));
}

Json ToJson(const TaskScore& score) {
  Json json = {{"task", score.task},
               {"version", score.version},
               {"shots", score.shots},
               {"metric", score.metric},
               {"value", NumberOrNull(score.estimate.value)},
               {"stderr", NumberOrNull(score.estimate.standard_error)},
               {"n", score.n},
               {"baseline", NumberOrNull(score.baseline)},
               {"partial", score.is_partial},
               {"near_ties", score.near_ties}};
  if (!score.part.empty()) json["part"] = score.part;
  if (!score.filter.empty()) json["filter"] = score.filter;
  return json;
}

// "first" and "second" are the two models; differences are second - first.
Json ToJson(const TaskComparison& comparison) {
  const EvaluationKey& key = comparison.key;
  const PairedComparison& paired = comparison.paired;
  return {{"task", key.task},
          {"filter", comparison.filter.empty() ? Json() : Json(comparison.filter)},
          {"version", key.version},
          {"shots", key.shots},
          {"fewshot_seed", key.fewshot_seed},
          {"partial", key.limit != 0},
          {"n", paired.n},
          {"first", NumberOrNull(paired.first)},
          {"second", NumberOrNull(paired.second)},
          {"difference", NumberOrNull(paired.difference.value)},
          {"stderr", NumberOrNull(paired.difference.standard_error)},
          {"low", NumberOrNull(paired.low)},
          {"high", NumberOrNull(paired.high)},
          // Items that changed sides, and whether that can be chance.
          {"right_to_wrong", paired.right_to_wrong},
          {"wrong_to_right", paired.wrong_to_right},
          {"mcnemar_p", paired.mcnemar_p},
          {"choice_kl", NumberOrNull(paired.choice_kl.value)},
          {"choice_kl_stderr", NumberOrNull(paired.choice_kl.standard_error)}};
}

// One line per task; shares in percent.
std::string ComparisonText(const std::vector<TaskComparison>& comparisons) {
  std::vector<std::vector<std::string>> table = {{"task", "shots", "n", "first", "second",
                                                  "difference", "95 % interval", "right>wrong",
                                                  "wrong>right", "McNemar p", "KL of choices"}};

  for (const TaskComparison& comparison : comparisons) {
    const EvaluationKey& key = comparison.key;
    const PairedComparison& paired = comparison.paired;
    table.push_back(
        {StrCat(key.task, comparison.filter.empty() ? "" : StrCat(",", comparison.filter),
                key.limit != 0 ? " (partial)" : ""),
         StrCat(key.shots), StrCat(paired.n), Percent(paired.first), Percent(paired.second),
         Percent(paired.difference.value),
         StrCat("[", Percent(paired.low), ", ", Percent(paired.high), "]"),
         StrCat(paired.right_to_wrong), StrCat(paired.wrong_to_right), Fixed(paired.mcnemar_p, 4),
         std::isnan(paired.choice_kl.value) ? "-" : Fixed(paired.choice_kl.value, 5)});
  }
  return FormatTable(table, {false, true, true, true, true, true, true, true, true, true, true});
}

// One run of `qualm eval --task`. The constructor finds the tasks and checks their data, before any
// model is loaded. Run asks the model, then the reference, and prints what came out.
class TaskEvaluation {
 public:
  TaskEvaluation(const TaskFlags& flags, const Globals& globals)
      : flags_(flags),
        globals_(globals),
        progress_(MakeProgress(globals)),
        pool_(globals.threads),
        context_{pool_, *progress_} {
    WarnOfBytes(flags.prompt.system, "--system", *progress_);
    // Whose data and how many shots decide which files must be there.
    options_.data_folder = DataFolder(flags.data);
    options_.items = ItemOptionsOf(flags.prompt);
    TaskList list = FindTasks(flags.tasks, options_.items, options_.data_folder, flags.skip_missing,
                              *progress_);
    tasks_ = std::move(list.tasks);
    skipped_ = std::move(list.skipped);

    options_.items.limit = flags.limit;
    options_.scorer.batch_tokens = flags.batch_tokens;
    options_.generator.batch_tokens = flags.batch_tokens;
    options_.run_code = flags.run_code;

    if (!flags.store.empty()) store_.emplace(flags.store);
    options_.store = store_ ? &*store_ : nullptr;
  }

  int Run() {
    // Outcomes are kept in memory only if a reference will be compared with them.
    Json json = {{"model", flags_.model.name}, {"instruction_set", InstructionSet()}};
    if (!skipped_.empty()) json["skipped"] = skipped_;
    const Model model = LoadModel(SourceOf(flags_.model), {}, context_);
    std::vector<TaskOutcome> outcomes;
    const std::string hash = Evaluate(model, json, "", [&](TaskOutcome outcome) {
      if (!flags_.reference.empty()) outcomes.push_back(std::move(outcome));
    });

    std::vector<Comparison> comparisons;
    if (!flags_.reference.empty()) comparisons = CompareWithReference(model, hash, outcomes, json);

    if (globals_.json) {
      PrintJson(json);
    } else if (!comparisons.empty()) {
      std::vector<TaskComparison> paired;
      for (const Comparison& comparison : comparisons) paired.push_back(comparison.task);
      Print(StrCat("\nfirst: the reference, second: the model; paired by item\n",
                   ComparisonText(paired), DistanceText(comparisons)));
    }
    return kOk;
  }

 private:
  struct Comparison {
    TaskComparison task;
    // On the positions that the task scores; NaN where the task was not asked now.
    ScoredDistances distances;
  };

  // Asks the reference the same tasks and compares each outcome with the model's.
  std::vector<Comparison> CompareWithReference(const Model& model, const std::string& hash,
                                               const std::vector<TaskOutcome>& outcomes,
                                               Json& json) {
    // The reference is asked task by task in the same order, so outcomes meet by position.
    const Model reference = LoadModel(SourceOf({.name = flags_.reference,
                                                .config = flags_.reference_config,
                                                .ignored_tensors = flags_.model.ignored_tensors,
                                                .gptq_zeros = flags_.model.gptq_zeros,
                                                .weights = flags_.model.weights,
                                                .weights_only = flags_.model.weights_only}),
                                      {}, context_);
    Json reference_json = {{"model", flags_.reference}};
    std::vector<Comparison> comparisons;
    size_t next = 0;

    const std::string reference_hash =
        Evaluate(reference, reference_json, hash, [&](const TaskOutcome& of_reference) {
          const TaskOutcome& outcome = outcomes[next++];
          const auto task = CompareOutcomes(of_reference, outcome);
          if (!task || Find(comparisons, task->key) != nullptr) return;
          comparisons.push_back({*task, DistancesOnTask(of_reference, reference, outcome, model,
                                                        options_.scorer, context_)});
        });

    json["reference"] = std::move(reference_json);
    comparisons = WithStoredOnes(comparisons, reference_hash, hash);

    // A comparison without any task is an error, not an empty table.
    json["comparison"] = Json::array();
    std::vector<TaskComparison> tasks;
    for (const Comparison& comparison : comparisons) {
      tasks.push_back(comparison.task);
      json["comparison"].push_back(ToJson(comparison.task));
      AddDistances(comparison.distances, json["comparison"].back());
    }
    RequireComparisons(tasks);
    return comparisons;
  }

  static const Comparison* Find(const std::vector<Comparison>& comparisons,
                                const EvaluationKey& key) {
    const auto found = std::ranges::find_if(
        comparisons, [&](const Comparison& comparison) { return comparison.task.key == key; });
    return found == comparisons.end() ? nullptr : &*found;
  }

  // Adds tasks that both models answered in other runs, if there is a store. All are shown in the
  // store's order; distances exist only for those of this run.
  std::vector<Comparison> WithStoredOnes(const std::vector<Comparison>& of_now,
                                         const std::string& reference_hash,
                                         const std::string& hash) const {
    if (!store_) return of_now;

    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    std::vector<Comparison> all;
    for (const TaskComparison& task : CompareModels(*store_, reference_hash, hash)) {
      const Comparison* now = Find(of_now, task.key);
      all.push_back(now != nullptr ? *now : Comparison{task, {{kNone, kNone}, {kNone, kNone}}});
    }
    return all;
  }

  static void AddDistances(const ScoredDistances& distances, Json& json) {
    json["kl"] = NumberOrNull(distances.kl.value);
    json["kl_stderr"] = NumberOrNull(distances.kl.standard_error);
    json["same_top1"] = NumberOrNull(distances.same_top1.value);
    json["same_top1_stderr"] = NumberOrNull(distances.same_top1.standard_error);
  }

  static std::string DistanceText(const std::vector<Comparison>& comparisons) {
    std::vector<std::vector<std::string>> table = {
        {"task", "KL(reference || model), nats", "stderr", "same top-1", "stderr", "n"}};
    for (const auto& [task, distances] : comparisons) {
      if (std::isnan(distances.kl.value)) continue;
      table.push_back({task.key.task, Fixed(distances.kl.value, 6),
                       Fixed(distances.kl.standard_error, 6), Percent(distances.same_top1.value),
                       Percent(distances.same_top1.standard_error), StrCat(task.paired.n)});
    }
    if (table.size() == 1) return "";
    return StrCat("on the scored positions, over the whole vocabulary\n",
                  FormatTable(table, {false, true, true, true, true, true}));
  }

  // Runs all tasks on a model, prints their scores or adds them to `json`, and passes each outcome
  // on. Returns the model's hash. The model must not be the one with the hash `done`.
  std::string Evaluate(const Model& model, Json& json, const std::string& done,
                       const std::function<void(TaskOutcome)>& on_outcome) {
    const std::string hash = model.Hash();
    if (hash == done) {
      ThrowBadInput("--reference", "another model than the one that is evaluated", "the same");
    }

    json["model_hash"] = hash;
    json["rows"] = Json::array();
    if (!globals_.json) Print(StrCat("model ", model.source.name, " (", hash.substr(0, 8), ")\n"));

    FindTemplate(model.folder, json);

    // Style and splits are part of the task's name in the store: answers with and without them
    // differ. The second model may have another template, so its names are made from the plain
    // ones.
    for (Task& task : tasks_) {
      const std::string plain_variant = task.variant;
      task.variant += options_.style.For(task).Variant() + SplitVariant(task, options_.items);
      TaskOutcome outcome = RunTask(task, model, hash, options_, context_);
      Report(task, outcome);
      for (const TaskScore& score : outcome.scores) json["rows"].push_back(ToJson(score));
      if (globals_.json) {
        json["protocols"].push_back(TaskProtocolJson(task, outcome, model, options_));
      }
      for (const std::string& signature : outcome.signatures) {
        json["signatures"].push_back(StrCat(task.name, " ", signature));
      }
      if (!globals_.json) PrintScores(outcome);
      on_outcome(std::move(outcome));
      task.variant = plain_variant;
    }
    return hash;
  }

  // The model's own template, or the one that the user names, for all tasks; none if the tasks are
  // asked as plain texts.
  void FindTemplate(const std::string& folder, Json& json) {
    const ChatOptions options = ChatOptionsOf(flags_.prompt.settings);
    chat_.reset();
    if (std::optional<ChatTemplate> chat = FindPromptTemplate(flags_.prompt, folder, options)) {
      chat_.emplace(std::move(*chat));
      json["chat_template"] = chat_->name();
      json["chat"] = ChatAsJson(*chat_, options);
      progress_->Info(ChatText(*chat_, options));
    }
    options_.style = StyleOf(flags_.prompt, chat_);
  }

  // What a reader must know to trust the scores; standard output has only the scores.
  void Report(const Task& task, const TaskOutcome& outcome) {
    progress_->Info(StrCat(task.name, ": first request ", outcome.first_request));
    if (!outcome.note.empty()) progress_->Warn(StrCat(task.name, ": ", outcome.note));

    // Prompts and texts that the model's context cut.
    if (outcome.prompts_with_fewer_shots > 0) {
      progress_->Warn(StrCat(task.name, ": ", outcome.prompts_with_fewer_shots,
                             " prompts lost shots to fit into the model's context"));
    }
    if (outcome.prompts_truncated > 0) {
      progress_->Warn(StrCat(task.name, ": ", outcome.prompts_truncated,
                             " prompts lost tokens on the left, too"));
    }
    if (outcome.texts_shortened > 0) {
      progress_->Warn(StrCat(task.name, ": ", outcome.texts_shortened,
                             " texts may be only half of the model's context long"));
    }

    for (const std::string& signature : outcome.signatures) {
      progress_->Info(StrCat(task.name, ": ", signature));
    }

    // How much was computed and how much came from the store.
    if (task.kind == TaskKind::kGeneration) {
      const GeneratorCounts& made = outcome.generated;
      progress_->Info(StrCat(task.name, ": ", made.requests, " texts, ", made.distinct,
                             " different, ", outcome.answers_found, " more from the store; ",
                             made.computed_tokens, " of ", made.prompt_tokens,
                             " prompt tokens computed, ", made.made_tokens, " tokens made in ",
                             made.passes, " passes"));
      return;
    }
    const ScorerCounts& counts = outcome.counts;
    progress_->Info(StrCat(task.name, ": ", counts.requests, " requests, ", counts.distinct,
                           " different, ", outcome.answers_found, " more from the store; ",
                           counts.computed_tokens, " of ", counts.tokens, " tokens computed"));
  }

  // Subsets are in the JSON output only: some tasks have more than fifty.
  void PrintScores(const TaskOutcome& outcome) {
    std::vector<std::vector<std::string>> table = {
        {"task", "shots", "part", "metric", "value", "stderr", "n", "baseline", "near ties"}};
    bool has_filters = false;
    for (const TaskScore& score : outcome.scores) {
      if (score.part.starts_with("subset ")) continue;
      table.push_back(
          {StrCat(score.task, " v", score.version, score.is_partial ? " (partial)" : ""),
           StrCat(score.shots), score.part.empty() ? "all" : score.part, score.metric,
           NumberText(score, score.estimate.value), ErrorText(score), StrCat(score.n),
           Percent(score.baseline), StrCat(score.near_ties)});
      // Which filter read the answers, where the task has several.
      if (!score.filter.empty()) table.back().push_back(score.filter);
      has_filters = has_filters || !score.filter.empty();
    }
    if (has_filters) table[0].push_back("filter");
    Print(FormatTable(table, {false, true, false, false, true, true, true, true, true, false}));
  }

  const TaskFlags& flags_;
  const Globals& globals_;
  std::unique_ptr<Progress> progress_;
  ThreadPool pool_;
  const Context context_;
  std::vector<Task> tasks_;
  std::vector<std::string> skipped_;
  std::optional<ChatTemplate> chat_;  // of the model that was asked last
  std::optional<ResultStore> store_;
  TaskRunOptions options_;
};

}  // namespace

void RequireStore(const std::string& file) {
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) return;
  ThrowBadInput(file, "a results store", "no file", "qualm eval --store makes one");
}

// The store knows folders by their full paths; anything else is looked up as it was given.
std::string StoredName(const std::string& model) {
  std::error_code ignored;
  const bool is_path = std::filesystem::exists(model, ignored) || !IsInHubCache(model);
  const std::filesystem::path folder =
      is_path ? std::filesystem::path(model) : FindModelFolder(model, ModelParts::kWithoutWeights);
  return std::filesystem::is_directory(folder, ignored) ? StoredPath(folder) : model;
}

int EvaluateTasks(const TaskFlags& flags, const Globals& globals) {
  return TaskEvaluation(flags, globals).Run();
}

int PrintComparison(const std::string& file, const std::string& first, const std::string& second,
                    const std::string& filter, const Globals& globals) {
  const ResultStore store(file);
  const std::string a = store.FindModel(StoredName(first)), b = store.FindModel(StoredName(second));
  const std::vector<TaskComparison> comparisons = CompareModels(store, a, b, filter);
  RequireComparisons(comparisons);

  // Hashes in JSON, paths for people.
  if (globals.json) {
    Json json = {{"first", a}, {"second", b}, {"tasks", Json::array()}};
    for (const TaskComparison& one : comparisons) json["tasks"].push_back(ToJson(one));
    PrintJson(json);
  } else {
    Print(StrCat("first  ", store.PathOfModel(a), "\nsecond ", store.PathOfModel(b),
                 "\npaired by item; differences second - first in percentage points\n",
                 ComparisonText(comparisons)));
  }
  return kOk;
}

}  // namespace qualm::cli
