// Tasks that are answered by the likelihoods of continuations: scores the continuations of every
// item, and computes accuracies, counted metrics and calibration errors from them (several
// choices), or accuracy and perplexity (one continuation).
#include "evaluate/likelihood_run.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "evaluate/choice_metrics.h"
#include "evaluate/task_runner.h"
#include "tokenize/blanks.h"

namespace qualm {
namespace {

// Items become requests, one for each continuation, and one more without a context where a metric
// needs it. The log-likelihoods become picks and probabilities by item; scores are then computed
// for each part of the task.
class LikelihoodRunner final : public TaskRunner {
 public:
  using TaskRunner::TaskRunner;

 private:
  // --- requests

  void Ask() override {
    outcome_.requests =
        MakeTaskRequests(task_, outcome_.asked, tokenizer_, model_.decoder->plan.context, style_);
    outcome_.prompts_with_fewer_shots = outcome_.requests.prompts_with_fewer_shots;
    outcome_.prompts_truncated = outcome_.requests.prompts_truncated;
    NameEvaluation(std::span<const AskedRequest>(outcome_.requests.requests));
  }

  // Unconditional requests are not stored with the item: people look at prompts, and those have
  // none.
  void KeepRequests(ResultStore& store) override {
    for (size_t i = 0; i < outcome_.requests.items.size(); ++i) {
      const TaskItem& item = outcome_.asked.items[i];
      const AskedItem& asked = outcome_.requests.items[i];
      for (size_t c = 0; c < asked.count; ++c) {
        const AskedRequest& request = outcome_.requests.requests[asked.first + c];
        // A choice's text and tokens; KeepRequest adds context and shots. Windows share a text.
        StoredRequest stored;
        stored.item = i;
        stored.choice = c;
        stored.request = request.hash;
        stored.continuation = item.continuations[std::min(c, item.continuations.size() - 1)];
        stored.continuation_tokens = request.request.continuation_length();
        KeepRequest(item, request.shots, c, request.request.tokens, stored, store);
      }
    }
  }

  // --- answers

  void Answer() override {
    outcome_.counts = AnswerAll(outcome_.requests.requests,
                                [&](std::span<const LikelihoodRequest> open,
                                    const AnswerSink& on_answer, const PassSink& on_pass) {
                                  return ScoreLikelihoods(*model_.decoder, open, options_.scorer,
                                                          context_, on_answer, on_pass);
                                });

    // NaN would make every score of the task meaningless, so a broken model is reported as such.
    for (size_t i = 0; i < outcome_.requests.items.size(); ++i) {
      for (double log_likelihood : LogLikelihoodsOf(i)) {
        if (!std::isnan(log_likelihood)) continue;
        ThrowFailed(outcome_.asked.items[i].place,
                    "the log-likelihood is not a number; is the model whole?");
      }
    }
  }

  std::vector<double> LogLikelihoodsOf(size_t item) const {
    const AskedItem& asked = outcome_.requests.items[item];
    std::vector<double> values;
    for (size_t c = 0; c < asked.count; ++c) {
      values.push_back(outcome_.requests.requests[asked.first + c].answer.log_likelihood);
    }
    return values;
  }

  // The answer of an item that has a single continuation, over all windows of it.
  LikelihoodAnswer AnswerOf(size_t item) const {
    const AskedItem& asked = outcome_.requests.items[item];
    LikelihoodAnswer answer{0, true};
    for (size_t c = 0; c < asked.count; ++c) {
      const LikelihoodAnswer& one = outcome_.requests.requests[asked.first + c].answer;
      answer.log_likelihood += one.log_likelihood;
      answer.is_greedy &= one.is_greedy;
    }
    return answer;
  }

  // --- scores

  void Score() override {
    task_.kind == TaskKind::kMultipleChoice ? ScoreChoices() : ScoreContinuations();
  }

  // What the metrics may use of each choice: its likelihood with and without context, its lengths.
  std::vector<ScoredChoice> ChoicesOf(size_t item) const {
    const AskedItem& asked = outcome_.requests.items[item];
    const std::vector<AskedRequest>& requests = outcome_.requests.requests;
    std::vector<ScoredChoice> choices;
    for (size_t c = 0; c < asked.count; ++c) {
      const AskedRequest& request = requests[asked.first + c];
      ScoredChoice choice;
      choice.log_likelihood = request.answer.log_likelihood;
      // Only tasks with a PMI metric ask without a context.
      if (asked.first_unconditional) {
        choice.unconditional = requests[*asked.first_unconditional + c].answer.log_likelihood;
      }
      choice.tokens = request.request.continuation_length();
      choice.text = outcome_.asked.items[item].choices[c];
      choices.push_back(choice);
    }
    return choices;
  }

  void ScoreChoices() {
    // What each metric picks, and how probable each choice is.
    std::map<std::string, std::vector<Pick>> picks;  // by metric, then by item
    std::vector<std::vector<double>> probabilities;  // by item, then by choice
    for (size_t i = 0; i < outcome_.asked.items.size(); ++i) {
      const std::vector<ScoredChoice> choices = ChoicesOf(i);
      for (const std::string& metric : task_.metrics) {
        picks[metric].push_back(PickChoice(IsPickMetric(metric) ? metric : "acc", choices));
      }
      probabilities.push_back(Probabilities(choices));
    }

    // Every part has the main scores; macro means and calibration belong to the whole task.
    const std::vector<TaskPart> parts = PartsOf(task_, outcome_.asked);
    for (const TaskPart& part : parts) {
      for (const std::string& metric : task_.metrics) {
        outcome_.scores.push_back(IsPickMetric(metric)
                                      ? ShareRight(part, metric, picks[metric])
                                      : Counted(part, metric, probabilities, picks[metric]));
      }
      if (!part.name.empty()) continue;
      for (const std::string& metric : task_.metrics) AddMacro(parts, metric, picks[metric]);
      AddCalibration(part, probabilities);
    }

    // Items are judged by the first metric, which is the task's main one.
    for (size_t i = 0; i < outcome_.asked.items.size(); ++i) {
      outcome_.items.push_back(ChoiceOutcomeOf(i, picks[task_.metrics[0]][i], probabilities[i]));
    }
  }

  // How an item was answered, judged by the main metric.
  ItemOutcome ChoiceOutcomeOf(size_t item, const Pick& pick,
                              const std::vector<double>& probabilities) const {
    ItemOutcome outcome;
    outcome.gold = static_cast<int64_t>(outcome_.asked.items[item].gold);
    outcome.picked = static_cast<int64_t>(pick.choice);
    outcome.is_right = outcome_.asked.items[item].IsRight(pick.choice);
    outcome.is_near_tie = pick.is_near_tie;
    outcome.choices = LogLikelihoodsOf(item);
    outcome.value = outcome.is_right ? 1 : 0;

    // Counted metrics that are means have a value for each item.
    const std::string& metric = task_.metrics[0];
    if (IsPickMetric(metric)) return outcome;
    const CountedChoiceMetric& counted = FindCountedChoiceMetric(metric);
    if (counted.is_mean) outcome.value = CountsOf(counted, item, probabilities, pick)[0];
    return outcome;
  }

  // Brier score and calibration error, which are defined for items with exactly one right choice.
  void AddCalibration(const TaskPart& part, const std::vector<std::vector<double>>& probabilities) {
    if (!outcome_.asked.items[0].right.empty()) return;
    std::vector<size_t> gold;
    for (const TaskItem& item : outcome_.asked.items) gold.push_back(item.gold);

    const Calibration calibration = CalibrationOf(probabilities, gold);
    outcome_.scores.push_back(NewScore(part, "brier"));
    outcome_.scores.back().estimate = calibration.brier;
    outcome_.scores.push_back(NewScore(part, "ece"));
    outcome_.scores.back().estimate = calibration.ece;
  }

  // One item's contribution to a counted metric.
  std::vector<double> CountsOf(const CountedChoiceMetric& metric, size_t item,
                               const std::vector<double>& probabilities, const Pick& pick) const {
    const TaskItem& asked = outcome_.asked.items[item];
    std::vector<uint8_t> right;
    for (size_t c = 0; c < asked.choices.size(); ++c) right.push_back(asked.IsRight(c) ? 1 : 0);
    return metric.count({probabilities, right, asked.ids, pick.choice});
  }

  TaskScore Counted(const TaskPart& part, const std::string& name,
                    const std::vector<std::vector<double>>& probabilities,
                    const std::vector<Pick>& picks) const {
    // A mean has its usual standard error; a value made of several sums is resampled.
    const CountedChoiceMetric& metric = FindCountedChoiceMetric(name);
    TaskScore score = NewScore(part, name);

    std::vector<std::vector<double>> counts;
    std::vector<double> values, ones(part.items.size(), 1);
    for (size_t i : part.items) {
      counts.push_back(CountsOf(metric, i, probabilities[i], picks[i]));
      values.push_back(counts.back()[0]);
    }
    score.estimate = metric.is_mean ? RatioEstimate(values, ones)
                                    : BootstrapOf(counts, metric.value, StrCat("bootstrap ", name));
    return score;
  }

  // The share of items whose pick is right, with the baseline that a constant answer would reach.
  TaskScore ShareRight(const TaskPart& part, const std::string& metric,
                       const std::vector<Pick>& picks) const {
    TaskScore score = NewScore(part, metric);

    std::vector<uint8_t> hits;
    std::map<size_t, size_t> frequency;  // of right choices
    for (size_t i : part.items) {
      hits.push_back(outcome_.asked.items[i].IsRight(picks[i].choice) ? 1 : 0);
      score.near_ties += picks[i].is_near_tie ? 1 : 0;
      ++frequency[outcome_.asked.items[i].gold];
    }

    score.estimate = ShareOf(hits);
    score.baseline = BaselineOf(part, frequency);
    return score;
  }

  // The share of the most frequent right choice. Where a task's construction makes it the same for
  // every row (minimal pairs), the share that guessing would get right.
  double BaselineOf(const TaskPart& part, const std::map<size_t, size_t>& frequency) const {
    double sum = 0;
    const bool is_constant = task_.lm_eval ? frequency.size() == 1 : task_.answer.IsConstant();
    if (is_constant) {
      for (size_t i : part.items) sum += 1 / static_cast<double>(outcome_.requests.items[i].count);
    } else {
      size_t most = 0;
      for (const auto& [choice, count] : frequency) most = std::max(most, count);
      sum = static_cast<double>(most);
    }
    return sum / static_cast<double>(part.items.size());
  }

  // The mean over subsets, each with the same weight.
  void AddMacro(const std::vector<TaskPart>& parts, const std::string& metric,
                const std::vector<Pick>& picks) {
    if (!IsPickMetric(metric)) return;

    std::vector<Estimate> estimates;
    for (const TaskPart& part : parts) {
      if (!part.name.starts_with("subset ")) continue;
      estimates.push_back(ShareRight(part, metric, picks).estimate);
    }

    if (estimates.size() < 2) return;
    outcome_.scores.push_back(NewScore(parts[0], metric + "_macro"));
    outcome_.scores.back().estimate = MeanOf(estimates);
  }

  // "acc": the continuation is what greedy decoding would produce. "ppl": perplexity by item.
  // Others divide the loss by words or bytes.
  void ScoreContinuations() {
    for (const TaskPart& part : PartsOf(task_, outcome_.asked)) {
      for (const std::string& metric : task_.metrics) {
        outcome_.scores.push_back(NewScore(part, metric));
        outcome_.scores.back().estimate = metric == "acc"   ? GreedyShare(part)
                                          : metric == "ppl" ? PerItemPpl(part)
                                                            : PerUnit(part, metric);
        outcome_.scores.back().is_share = metric == "acc";
      }
    }

    for (size_t i = 0; i < outcome_.asked.items.size(); ++i) {
      ItemOutcome outcome;
      outcome.is_right = AnswerOf(i).is_greedy;
      outcome.value = outcome.is_right ? 1 : 0;
      outcome_.items.push_back(std::move(outcome));
    }
  }

  Estimate GreedyShare(const TaskPart& part) const {
    std::vector<uint8_t> hits;
    for (size_t i : part.items) hits.push_back(AnswerOf(i).is_greedy ? 1 : 0);
    return ShareOf(hits);
  }

  // exp of the mean loss per item, whatever the items' lengths (as LAMBADA is reported).
  Estimate PerItemPpl(const TaskPart& part) const {
    std::vector<double> losses;
    for (size_t i : part.items) losses.push_back(-AnswerOf(i).log_likelihood);
    return ExpOf(RatioEstimate(losses, std::vector<double>(losses.size(), 1)));
  }

  // The loss over the words or bytes of the items' texts, as a perplexity or in bits.
  Estimate PerUnit(const TaskPart& part, const std::string& metric) const {
    std::vector<double> losses, units;
    for (size_t i : part.items) {
      const std::string& text = outcome_.asked.items[i].counted;
      losses.push_back(-AnswerOf(i).log_likelihood);
      units.push_back(
          static_cast<double>(metric == "word_perplexity" ? SplitCount(text) : text.size()));
    }
    const Estimate mean = RatioEstimate(losses, units);
    if (metric != "bits_per_byte") return ExpOf(mean);
    return {mean.value / std::log(2.0), mean.standard_error / std::log(2.0)};
  }
};

}  // namespace

TaskOutcome RunLikelihoods(const Task& task, const Model& model, const std::string& model_hash,
                           const TaskRunOptions& options, const Context& context) {
  return LikelihoodRunner(task, model, model_hash, options, context).Run();
}

}  // namespace qualm
