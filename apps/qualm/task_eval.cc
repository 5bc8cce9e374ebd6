#include "task_eval.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "chat/chat_template.h"
#include "data/named_corpora.h"
#include "data/row_sets.h"
#include "evaluate/comparison.h"
#include "evaluate/task_run.h"
#include "model/model.h"
#include "results/store.h"
#include "tensor/isa.h"

namespace qualm::cli {
namespace {

Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string Percent(double share) { return std::isnan(share) ? "-" : Fixed(100 * share, 2); }

// Accuracies and calibration errors are shares; perplexities, Brier scores and BLEU are not.
std::string NumberText(const TaskScore& score, double value) {
  if (score.metric == "ppl" || score.metric == "brier" || !score.is_share) return Fixed(value, 4);
  return StrCat(Percent(value), " %");
}

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
  return json;
}

Json ToJson(const TaskComparison& one) {
  const PairedComparison& paired = one.paired;
  return {{"task", one.task},
          {"version", one.version},
          {"shots", one.shots},
          {"fewshot_seed", one.fewshot_seed},
          {"partial", one.limit != 0},
          {"n", paired.n},
          {"first", NumberOrNull(paired.first)},
          {"second", NumberOrNull(paired.second)},
          {"difference", NumberOrNull(paired.difference.value)},
          {"stderr", NumberOrNull(paired.difference.standard_error)},
          {"low", NumberOrNull(paired.low)},
          {"high", NumberOrNull(paired.high)},
          {"right_to_wrong", paired.right_to_wrong},
          {"wrong_to_right", paired.wrong_to_right},
          {"mcnemar_p", paired.mcnemar_p},
          {"choice_kl", NumberOrNull(paired.choice_kl.value)},
          {"choice_kl_stderr", NumberOrNull(paired.choice_kl.standard_error)}};
}

std::string ComparisonText(const std::vector<TaskComparison>& comparisons) {
  std::vector<std::vector<std::string>> table = {{"task", "shots", "n", "first", "second",
                                                  "difference", "95 % interval", "right>wrong",
                                                  "wrong>right", "McNemar p", "KL of choices"}};
  for (const TaskComparison& one : comparisons) {
    const PairedComparison& paired = one.paired;
    table.push_back(
        {StrCat(one.task, one.limit != 0 ? " (partial)" : ""), StrCat(one.shots), StrCat(paired.n),
         Percent(paired.first), Percent(paired.second), Percent(paired.difference.value),
         StrCat("[", Percent(paired.low), ", ", Percent(paired.high), "]"),
         StrCat(paired.right_to_wrong), StrCat(paired.wrong_to_right), Fixed(paired.mcnemar_p, 4),
         std::isnan(paired.choice_kl.value) ? "-" : Fixed(paired.choice_kl.value, 5)});
  }
  return FormatTable(table, {false, true, true, true, true, true, true, true, true, true, true});
}

class TaskEvaluation {
 public:
  TaskEvaluation(const TaskFlags& flags, const Globals& globals)
      : flags_(flags), globals_(globals), progress_(MakeProgress(globals)), pool_(globals.threads) {
    for (const std::string& names : flags.tasks) {
      for (const std::string& name : Split(names, ',')) {
        for (const std::string& task : ExpandTaskName(name)) tasks_.push_back(FindTask(task));
      }
    }
    options_.data_folder = DataFolder(flags.data);
    options_.items.shots = Shots();
    RequireData();
    options_.items.fewshot_seed = flags.fewshot_seed;
    options_.items.limit = flags.limit;
    options_.scorer.batch_tokens = flags.batch_tokens;
    options_.generator.batch_tokens = flags.batch_tokens;
    options_.run_code = flags.run_code;
    // A comparison needs the items of both models in one place.
    const bool needs_store = !flags.store.empty() || !flags.reference.empty();
    if (needs_store) store_.emplace(flags.store.empty() ? ":memory:" : flags.store);
    options_.store = store_ ? &*store_ : nullptr;
  }

  int Run() {
    Json json = {{"model", flags_.model}, {"instruction_set", InstructionSet()}};
    if (!skipped_.empty()) json["skipped"] = skipped_;
    const Model model = LoadModel(flags_.model, {}, pool_);
    const std::string hash = Evaluate(model, flags_.model, json);
    std::vector<TaskComparison> comparisons;
    std::vector<ScoredDistances> distances;  // of the comparisons
    if (!flags_.reference.empty()) {
      const Model reference_model = LoadModel(flags_.reference, {}, pool_);
      Json reference = {{"model", flags_.reference}};
      const std::string reference_hash =
          Evaluate(reference_model, flags_.reference, reference, hash);
      json["reference"] = std::move(reference);
      comparisons = CompareModels(*store_, reference_hash, hash);
      json["comparison"] = Json::array();
      for (const TaskComparison& one : comparisons) {
        distances.push_back(DistancesOf(one, reference_model, model));
        json["comparison"].push_back(ToJson(one));
        AddDistances(distances.back(), json["comparison"].back());
      }
    }
    if (globals_.json) {
      PrintJson(json);
    } else if (!comparisons.empty()) {
      Print(StrCat("\nfirst: the reference, second: the model; paired by item\n",
                   ComparisonText(comparisons), DistanceText(comparisons, distances)));
    }
    return kOk;
  }

 private:
  static void AddDistances(const ScoredDistances& distances, Json& json) {
    json["kl"] = NumberOrNull(distances.kl.value);
    json["kl_stderr"] = NumberOrNull(distances.kl.standard_error);
    json["same_top1"] = NumberOrNull(distances.same_top1.value);
    json["same_top1_stderr"] = NumberOrNull(distances.same_top1.standard_error);
  }

  // The store may have the same task with other shots or rows from another run.
  bool WasAskedNow(const Task& task, const TaskComparison& comparison) const {
    const ItemOptions& items = options_.items;
    const bool same_rows = comparison.limit != 0
                               ? comparison.limit == items.limit
                               : items.limit == 0 || items.limit >= comparison.paired.n;
    return same_rows && comparison.shots == items.shots.value_or(task.default_shots) &&
           comparison.fewshot_seed == items.fewshot_seed;
  }

  // On the positions that the task scores; of a task that the store has from another run, none.
  ScoredDistances DistancesOf(const TaskComparison& comparison, const Model& reference,
                              const Model& model) {
    for (const Task& task : tasks_) {
      if (task.name + task.variant != comparison.task || !WasAskedNow(task, comparison)) continue;
      return DistancesOnTask(task, reference, model, options_, pool_, *progress_);
    }
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    return {{kNone, kNone}, {kNone, kNone}};
  }

  static std::string DistanceText(const std::vector<TaskComparison>& comparisons,
                                  const std::vector<ScoredDistances>& distances) {
    std::vector<std::vector<std::string>> table = {
        {"task", "KL(reference || model), nats", "stderr", "same top-1", "stderr", "n"}};
    for (size_t i = 0; i < comparisons.size(); ++i) {
      const ScoredDistances& one = distances[i];
      if (std::isnan(one.kl.value)) continue;
      table.push_back({comparisons[i].task, Fixed(one.kl.value, 6), Fixed(one.kl.standard_error, 6),
                       Percent(one.same_top1.value), Percent(one.same_top1.standard_error),
                       StrCat(comparisons[i].paired.n)});
    }
    if (table.size() == 1) return "";
    return StrCat("on the scored positions, over the whole vocabulary\n",
                  FormatTable(table, {false, true, true, true, true, true}));
  }

  // Before any model is loaded: the files of all tasks are there, or the tasks are left out.
  void RequireData() {
    std::vector<std::string> problems;
    std::erase_if(tasks_, [&](const Task& task) {
      const RowSet& set = FindRowSet(task.data_set, task.name);
      const std::string missing = MissingTaskFile(task, options_.items, options_.data_folder);
      if (missing.empty()) return false;
      skipped_.push_back(task.name);
      problems.push_back(StrCat(task.name, " (", missing, "; it comes from: ", set.source, ")"));
      return flags_.skip_missing;
    });
    if (problems.empty()) return;
    if (!flags_.skip_missing) {
      ThrowBadInput("--task", "data of all tasks", StrCat("none for ", Join(problems, ", ")),
                    options_.data_folder.empty() ? "name its folder by --data or QUALM_DATA"
                                                 : "--skip-missing leaves these tasks out");
    }
    for (const std::string& problem : problems) progress_->Warn(StrCat("skipped ", problem));
    if (tasks_.empty()) ThrowBadInput("--task", "a task whose data is at hand", "none");
  }

  std::optional<size_t> Shots() const {
    if (!flags_.shots) return std::nullopt;
    size_t shots = 0;
    const std::string& text = *flags_.shots;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), shots);
    if (error != std::errc() || end != text.data() + text.size()) {
      ThrowBadInput("--shots", "a whole number", StrCat("'", text, "'"));
    }
    return shots;
  }

  // Runs all tasks on a model other than that with the hash `done`, prints or adds to `json`;
  // returns the model's hash.
  std::string Evaluate(const Model& model, const std::string& folder, Json& json,
                       const std::string& done = "") {
    const std::string hash = model.Hash();
    if (hash == done) {
      ThrowBadInput("--reference", "another model than the one that is evaluated", "the same");
    }
    json["model_hash"] = hash;
    json["rows"] = Json::array();
    if (!globals_.json) Print(StrCat("model ", folder, " (", hash.substr(0, 8), ")\n"));
    std::optional<ChatTemplate>& chat = chat_;
    if (flags_.chat || !flags_.chat_template.empty()) {
      chat.emplace(FindChatTemplate(flags_.chat_template, folder));
      json["chat_template"] = chat->name();
    }
    options_.chat = chat ? &*chat : nullptr;
    for (Task& task : tasks_) {
      task.variant = chat ? StrCat("@", chat->name()) : "";
      const TaskResult result = RunTask(task, model, hash, options_, pool_, *progress_);
      Report(task, result);
      for (const TaskScore& score : result.scores) json["rows"].push_back(ToJson(score));
      for (const std::string& signature : result.signatures) {
        json["signatures"].push_back(StrCat(task.name, " ", signature));
      }
      if (!globals_.json) PrintScores(result);
    }
    return hash;
  }

  void Report(const Task& task, const TaskResult& result) {
    progress_->Info(StrCat(task.name, ": first request ", result.first_request));
    if (!result.note.empty()) progress_->Warn(StrCat(task.name, ": ", result.note));
    if (result.prompts_with_fewer_shots > 0) {
      progress_->Warn(StrCat(task.name, ": ", result.prompts_with_fewer_shots,
                             " prompts lost shots to fit into the model's context"));
    }
    if (result.prompts_truncated > 0) {
      progress_->Warn(StrCat(task.name, ": ", result.prompts_truncated,
                             " prompts lost tokens on the left, too"));
    }
    if (result.texts_shortened > 0) {
      progress_->Warn(StrCat(task.name, ": ", result.texts_shortened,
                             " texts may be only half of the model's context long"));
    }
    for (const std::string& signature : result.signatures) {
      progress_->Info(StrCat(task.name, ": ", signature));
    }
    if (task.kind == TaskKind::kGeneration) {
      const GeneratorCounts& made = result.generated;
      progress_->Info(StrCat(task.name, ": ", made.requests, " texts, ", made.distinct,
                             " different, ", result.answers_found, " more from the store; ",
                             made.computed_tokens, " of ", made.prompt_tokens,
                             " prompt tokens computed, ", made.made_tokens, " tokens made in ",
                             made.passes, " passes"));
      return;
    }
    const ScorerCounts& counts = result.counts;
    progress_->Info(StrCat(task.name, ": ", counts.requests, " requests, ", counts.distinct,
                           " different, ", result.answers_found, " more from the store; ",
                           counts.computed_tokens, " of ", counts.tokens, " tokens computed"));
  }

  void PrintScores(const TaskResult& result) {
    std::vector<std::vector<std::string>> table = {
        {"task", "shots", "part", "metric", "value", "stderr", "n", "baseline", "near ties"}};
    for (const TaskScore& score : result.scores) {
      if (score.part.starts_with("subset ")) continue;
      table.push_back(
          {StrCat(score.task, " v", score.version, score.is_partial ? " (partial)" : ""),
           StrCat(score.shots), score.part.empty() ? "all" : score.part, score.metric,
           NumberText(score, score.estimate.value), ErrorText(score), StrCat(score.n),
           Percent(score.baseline), StrCat(score.near_ties)});
    }
    Print(FormatTable(table, {false, true, false, false, true, true, true, true, true}));
  }

  const TaskFlags& flags_;
  const Globals& globals_;
  std::unique_ptr<Progress> progress_;
  ThreadPool pool_;
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

std::string StoredName(const std::string& model) {
  std::error_code ignored;
  return std::filesystem::is_directory(model, ignored) ? StoredPath(model) : model;
}

int EvaluateTasks(const TaskFlags& flags, const Globals& globals) {
  return TaskEvaluation(flags, globals).Run();
}

int PrintComparison(const std::string& file, const std::string& first, const std::string& second,
                    const Globals& globals) {
  const ResultStore store(file);
  const std::string a = store.FindModel(StoredName(first)), b = store.FindModel(StoredName(second));
  const std::vector<TaskComparison> comparisons = CompareModels(store, a, b);
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
