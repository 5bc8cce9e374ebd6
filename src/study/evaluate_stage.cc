#include "study/evaluate_stage.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "data/named_corpora.h"
#include "data/overlap.h"
#include "evaluate/perplexity.h"
#include "evaluate/protocol.h"
#include "evaluate/task_run.h"
#include "evaluate/window_journal.h"
#include "model/model.h"
#include "results/store.h"
#include "study/stage_inputs.h"
#include "tasks/items.h"

namespace qualm {
namespace {

constexpr size_t kMostSamples = 1000;     // of a test, for reading
constexpr size_t kMostPromptBytes = 600;  // the end of a prompt is what is asked

Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(); }
Json ToJson(const Estimate& estimate) {
  return Json::array({NumberOrNull(estimate.value), NumberOrNull(estimate.standard_error)});
}

// The last bytes of a text, from the beginning of a character on.
std::string EndOf(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  size_t at = text.size() - most;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return StrCat("…", text.substr(at));
}

Json OverlapToJson(const Overlap& overlap) {
  return {{"grams", overlap.grams}, {"found", overlap.found}};
}

// --- perplexity

Json EvaluateText(const Stage& stage, const StudyPlan& plan, const TestSpec& test,
                  const WorkFolder& work, const Model& model, const Model* reference,
                  ThreadPool& pool, Progress& progress) {
  const Corpus corpus = FindCorpus(test.corpus, CorpusUse::kEvaluation, plan.data_folder,
                                   {.text_field = test.text_field});
  if (corpus.hash != GetString(stage.inputs, "data_hash", stage.label)) {
    ThrowFailed(stage.label, StrCat(test.corpus, " has changed since the study was planned"));
  }
  const PerplexityProtocol& protocol = FindProtocol(test.protocol);
  const size_t seqlen = ResolveSeqlen(protocol, test.seqlen, model.decoder->config.context);
  const PerplexityText text = PrepareText(protocol, test.name, corpus.Joined(),
                                          model.RequireTokenizer(), seqlen, test.limit);
  WindowJournal journal(work.Windows(stage.key), stage.key);
  PerplexityOptions options;
  options.known = [&](size_t t, size_t window) { return journal.Find(t, window); };
  options.keep = [&](size_t t, size_t window, const WindowRows& rows) {
    journal.Put(t, window, rows);
  };
  const DecoderScoringModel own(*model.decoder);
  std::optional<DecoderScoringModel> other;
  if (reference != nullptr) other.emplace(*reference->decoder);
  const ScoredModels models{&own, other ? &*other : nullptr, nullptr};
  const TextScores scores =
      ScorePerplexity(models, std::vector<PerplexityText>{text}, options, pool, progress)[0];
  if (!std::isfinite(scores.ppl.value)) {
    ThrowFailed(stage.label, "the perplexity is not finite: the model's logits overflow");
  }
  Json weights = Json::array(), clusters = Json::array();
  for (const Window& window : text.windows) {
    weights.push_back(window.weight);
    clusters.push_back(clusters.size());
  }
  Json result = {
      {"kind", "text"},
      {"protocol", protocol.name},
      {"protocol_version", protocol.version},
      {"seqlen", seqlen},
      {"n", scores.windows},
      {"n_tokens", scores.targets},
      {"ppl", ToJson(scores.ppl)},
      {"items", {{"loss", scores.window_nll}, {"weight", weights}, {"cluster", clusters}}}};
  if (scores.comparison) {
    const Comparison& one = *scores.comparison;
    result["distance"] = {{"kl", ToJson(one.kl_mean)},
                          {"kl_median", ToJson(one.kl_median)},
                          {"kl_p99", ToJson(one.kl_p99)},
                          {"same_top1", ToJson(one.top1_agreement)},
                          {"rms_delta_p", ToJson(one.rms_delta_p)}};
  }
  if (const auto seen = ReadGramHashes(model.folder)) {
    Overlap all;
    for (const Window& window : text.windows) {
      const Overlap one = MeasureOverlap(*seen, text.WindowIds(window));
      all.grams += one.grams;
      all.found += one.found;
    }
    result["overlap"] = OverlapToJson(all);
  }
  return result;
}

// --- tasks

class TaskStage {
 public:
  TaskStage(const Stage& stage, const StudyPlan& plan, const TestSpec& test, const WorkFolder& work,
            const Model& model)
      : stage_(stage), model_(model), task_(FindTask(test.task)) {
    SelectCategory(task_, test.category, stage.label);
    options_.data_folder = plan.data_folder;
    options_.items.shots = test.shots;
    options_.items.limit = test.limit;
    options_.items.pool = static_cast<RowPool>(GetIntIn(stage.inputs, "pool", stage.label, 0, 2));
    options_.items.pool_seed =
        static_cast<uint64_t>(GetInt(stage.inputs, "pool_seed", stage.label));
    options_.items.calibration_share = GetDouble(stage.inputs, "calibration_share", stage.label);
    store_.emplace(work.Answers(stage.key));
    options_.store = &*store_;
    options_.run_code = false;
  }

  Json Run(ThreadPool& pool, Progress& progress) {
    const TaskOutcome outcome = RunTask(task_, model_, model_.Hash(), options_, pool, progress);
    Json result = {{"kind", "task"},
                   {"task", outcome.key.task},
                   {"task_version", task_.version},
                   {"metric", task_.metrics[0]},
                   {"shots", outcome.asked.shots},
                   {"n", outcome.items.size()},
                   {"rows_in_split", outcome.asked.rows_in_split},
                   {"prompts_with_fewer_shots", outcome.prompts_with_fewer_shots},
                   {"prompts_truncated", outcome.prompts_truncated},
                   {"note", outcome.note},
                   {"first_request", outcome.first_request},
                   {"scores", ScoresOf(outcome)}};
    result["items"] = ItemsOf(outcome);
    // Prompts are stored in the float model's record only: they are the same for all models.
    const bool is_float = GetString(stage_.inputs, "quantize", stage_.label).empty();
    result["samples"] = SamplesOf(outcome, is_float);
    if (const auto seen = ReadGramHashes(model_.folder)) {
      Overlap all;
      for (const TaskItem& item : outcome.asked.items) {
        const size_t right = item.continuations.size() == 1 ? 0 : item.gold;
        const Overlap one =
            MeasureOverlap(*seen, model_.RequireTokenizer().Encode(
                                      StrCat(item.ContextOf(right), item.continuations[right])));
        all.grams += one.grams;
        all.found += one.found;
      }
      result["overlap"] = OverlapToJson(all);
    }
    return result;
  }

 private:
  static Json ScoresOf(const TaskOutcome& outcome) {
    Json scores = Json::array();
    for (const TaskScore& score : outcome.scores) {
      if (!score.part.empty()) continue;
      scores.push_back({{"metric", score.metric},
                        {"value", NumberOrNull(score.estimate.value)},
                        {"stderr", NumberOrNull(score.estimate.standard_error)},
                        {"n", score.n},
                        {"baseline", NumberOrNull(score.baseline)}});
    }
    return scores;
  }

  // Columns by item; choices' log-likelihoods where the task has choices.
  Json ItemsOf(const TaskOutcome& outcome) const {
    Json value = Json::array(), right = Json::array(), picked = Json::array(),
         near_tie = Json::array(), cluster = Json::array(), gold = Json::array(),
         choices = Json::array();
    std::map<std::string, size_t> clusters;
    for (size_t i = 0; i < outcome.items.size(); ++i) {
      const ItemOutcome& item = outcome.items[i];
      value.push_back(std::isnan(item.value) ? 0 : item.value);
      right.push_back(item.is_right ? 1 : 0);
      picked.push_back(item.picked);
      near_tie.push_back(item.is_near_tie ? 1 : 0);
      gold.push_back(item.gold);
      choices.push_back(item.choices);
      const std::string& name = outcome.asked.items[i].cluster;
      const std::string key = name.empty() ? StrCat("item ", i) : StrCat("of ", name);
      cluster.push_back(clusters.emplace(key, clusters.size()).first->second);
    }
    Json items = {{"value", value},       {"right", right}, {"picked", picked},
                  {"near_tie", near_tie}, {"gold", gold},   {"cluster", cluster}};
    if (task_.kind == TaskKind::kMultipleChoice) items["log_likelihoods"] = choices;
    return items;
  }

  Json SamplesOf(const TaskOutcome& outcome, bool with_prompts) const {
    Json samples = Json::array();
    for (size_t i = 0; i < std::min(outcome.items.size(), kMostSamples); ++i) {
      const TaskItem& asked = outcome.asked.items[i];
      Json sample = {{"item", i}, {"answer", AnswerOf(outcome, i)}};
      if (with_prompts) {
        sample["row"] = asked.place;
        sample["prompt"] =
            EndOf(asked.ContextOf(asked.contexts.size() == 1 ? 0 : asked.gold), kMostPromptBytes);
        sample["right"] = EndOf(RightAnswerOf(asked), kMostPromptBytes);
      }
      samples.push_back(std::move(sample));
    }
    return samples;
  }

  std::string RightAnswerOf(const TaskItem& asked) const {
    if (task_.kind == TaskKind::kGeneration) return asked.choices.empty() ? "" : asked.choices[0];
    return asked.continuations[task_.kind == TaskKind::kMultipleChoice ? asked.gold : 0];
  }

  std::string AnswerOf(const TaskOutcome& outcome, size_t index) const {
    const TaskItem& asked = outcome.asked.items[index];
    const ItemOutcome& item = outcome.items[index];
    switch (task_.kind) {
      case TaskKind::kMultipleChoice:
        return item.picked < 0
                   ? ""
                   : EndOf(asked.continuations[static_cast<size_t>(item.picked)], kMostPromptBytes);
      case TaskKind::kContinuation:
        return item.is_right ? asked.continuations[0] : "";
      case TaskKind::kGeneration:
        return EndOf(outcome.texts[index * task_.generation.samples].answer.text, kMostPromptBytes);
    }
    return "";
  }

  const Stage& stage_;
  const Model& model_;
  Task task_;
  TaskRunOptions options_;
  std::optional<ResultStore> store_;
};

}  // namespace

Json EvaluateTest(const Stage& stage, const StudyPlan& plan, const WorkFolder& work,
                  const Model& model, const Model* reference, ThreadPool& pool,
                  Progress& progress) {
  const TestSpec test = TestFromInputs(stage.inputs, stage.label);
  if (test.is_task()) {
    return TaskStage(stage, plan, test, work, model).Run(pool, progress);
  }
  Json result = EvaluateText(stage, plan, test, work, model, reference, pool, progress);
  std::error_code ignored;
  std::filesystem::remove(work.Windows(stage.key), ignored);
  return result;
}

}  // namespace qualm
