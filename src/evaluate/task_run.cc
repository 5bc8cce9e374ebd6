#include "evaluate/task_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "evaluate/choice_metrics.h"
#include "evaluate/generation_run.h"
#include "evaluate/scored_distance.h"
#include "evaluate/task_parts.h"
#include "evaluate/task_requests.h"
#include "model/model.h"
#include "results/store.h"

namespace qualm {
namespace {

class TaskRunner {
 public:
  TaskRunner(const Task& task, const Model& model, const std::string& model_hash,
             const TaskRunOptions& options, ThreadPool& pool, Progress& progress)
      : task_(task),
        model_(model),
        tokenizer_(model.RequireTokenizer()),
        model_hash_(model_hash),
        options_(options),
        pool_(pool),
        progress_(progress) {}

  TaskResult Run() {
    made_ = MakeItems(task_, options_.items, options_.data_folder);
    result_.note = FindRowSet(task_.data_set, task_.name).note;
    result_.rows_in_split = made_.rows_in_split;
    asked_ =
        MakeTaskRequests(task_, made_, tokenizer_, model_.decoder->plan.context, options_.chat);
    result_.prompts_with_fewer_shots = asked_.prompts_with_fewer_shots;
    result_.prompts_truncated = asked_.prompts_truncated;
    result_.first_request = StrCat(HeadOf(tokenizer_, asked_.requests[0].request.tokens), " ... ",
                                   TailOf(tokenizer_, asked_.requests[0].request.tokens));
    if (options_.store != nullptr) OpenEvaluation();
    Answer();
    task_.kind == TaskKind::kMultipleChoice ? ScoreChoices() : ScoreContinuations();
    return std::move(result_);
  }

 private:
  // --- answers

  void OpenEvaluation() {
    ResultStore& store = *options_.store;
    std::vector<std::string> hashes;
    for (const AskedRequest& one : asked_.requests) hashes.push_back(one.hash);
    store.Begin();
    evaluation_ = PutEvaluationOf(task_, made_, model_, model_hash_, options_, hashes);
    for (size_t i = 0; i < asked_.items.size(); ++i) {
      for (size_t c = 0; c < asked_.items[i].count; ++c) {
        const AskedRequest& one = asked_.requests[asked_.items[i].first + c];
        const TaskItem& item = made_.items[i];
        StoredRequest stored;
        stored.item = i;
        stored.choice = c;
        stored.request = one.hash;
        SetStoredPrompt(item, one.shots, c, options_.chat, stored);
        stored.continuation = item.continuations[c];
        stored.tokens = one.request.tokens.size();
        stored.continuation_tokens = one.request.continuation_length();
        stored.head = HeadOf(tokenizer_, one.request.tokens);
        stored.tail = TailOf(tokenizer_, one.request.tokens);
        store.PutRequest(evaluation_, stored);
      }
    }
    store.Commit();
  }

  void Answer() {
    std::vector<LikelihoodRequest> open;
    std::vector<size_t> index;
    for (size_t i = 0; i < asked_.requests.size(); ++i) {
      if (options_.store != nullptr) {
        if (const auto found = options_.store->FindAnswer(model_hash_, asked_.requests[i].hash,
                                                          kLikelihoodProtocol)) {
          asked_.requests[i].answer = {found->log_likelihood, found->is_greedy};
          ++result_.answers_found;
          continue;
        }
      }
      open.push_back(asked_.requests[i].request);
      index.push_back(i);
    }
    progress_.Begin(task_.name, asked_.requests.size());
    // The store is locked for as long as writing takes, not for a forward pass.
    std::vector<std::pair<size_t, LikelihoodAnswer>> fresh;
    result_.counts = ScoreLikelihoods(
        *model_.decoder, open, options_.scorer, pool_,
        [&](std::span<const size_t> equal, const LikelihoodAnswer& answer) {
          for (size_t i : equal) asked_.requests[index[i]].answer = answer;
          fresh.emplace_back(index[equal[0]], answer);
        },
        [&](uint64_t answered) {
          Keep(fresh);
          fresh.clear();
          progress_.Advance(result_.answers_found + answered, "");
        });
    progress_.End();
    for (size_t i = 0; i < asked_.items.size(); ++i) {
      for (size_t c = 0; c < asked_.items[i].count; ++c) {
        if (!std::isnan(asked_.requests[asked_.items[i].first + c].answer.log_likelihood)) continue;
        ThrowFailed(made_.items[i].place,
                    "the log-likelihood is not a number; is the model whole?");
      }
    }
  }

  void Keep(std::span<const std::pair<size_t, LikelihoodAnswer>> answers) {
    if (options_.store == nullptr) return;
    options_.store->Begin();
    for (const auto& [i, answer] : answers) {
      options_.store->PutAnswer(model_hash_, asked_.requests[i].hash, kLikelihoodProtocol,
                                {answer.log_likelihood, answer.is_greedy});
    }
    options_.store->Commit();
  }

  // --- scores

  std::vector<ScoredChoice> ChoicesOf(size_t item) const {
    std::vector<ScoredChoice> choices;
    const AskedItem& asked = asked_.items[item];
    for (size_t c = 0; c < asked.count; ++c) {
      const AskedRequest& one = asked_.requests[asked.first + c];
      ScoredChoice choice;
      choice.log_likelihood = one.answer.log_likelihood;
      if (asked.first_unconditional) {
        choice.unconditional =
            asked_.requests[*asked.first_unconditional + c].answer.log_likelihood;
      }
      choice.tokens = one.request.continuation_length();
      choice.text = made_.items[item].choices[c];
      choices.push_back(choice);
    }
    return choices;
  }

  void ScoreChoices() {
    std::map<std::string, std::vector<Pick>> picks;
    std::vector<std::vector<double>> probabilities;
    for (size_t i = 0; i < made_.items.size(); ++i) {
      const std::vector<ScoredChoice> choices = ChoicesOf(i);
      for (const std::string& metric : task_.metrics) {
        picks[metric].push_back(PickChoice(IsPickMetric(metric) ? metric : "acc", choices));
      }
      probabilities.push_back(Probabilities(choices));
    }
    const std::vector<TaskPart> parts = PartsOf(task_, made_);
    for (const TaskPart& part : parts) {
      for (const std::string& metric : task_.metrics) {
        result_.scores.push_back(IsPickMetric(metric)
                                     ? ShareRight(part, metric, picks[metric])
                                     : Counted(part, metric, probabilities, picks[metric]));
      }
      if (!part.name.empty()) continue;
      for (const std::string& metric : task_.metrics) AddMacro(parts, metric, picks[metric]);
      if (!made_.items[0].right.empty()) continue;  // one right choice is taken for granted below
      std::vector<size_t> gold;
      for (const TaskItem& item : made_.items) gold.push_back(item.gold);
      const Calibration calibration = CalibrationOf(probabilities, gold);
      result_.scores.push_back(NewScore(task_, made_, part, "brier"));
      result_.scores.back().estimate = calibration.brier;
      result_.scores.push_back(NewScore(task_, made_, part, "ece"));
      result_.scores.back().estimate = calibration.ece;
    }
    if (options_.store == nullptr) return;
    StoreItems(*options_.store, evaluation_, made_, [&](size_t i) {
      const std::string& metric = task_.metrics[0];
      const Pick& pick = picks[metric][i];
      StoredItem item;
      item.gold = static_cast<int64_t>(made_.items[i].gold);
      item.picked = static_cast<int64_t>(pick.choice);
      item.is_correct = made_.items[i].IsRight(pick.choice);
      item.is_near_tie = pick.is_near_tie;
      item.value = item.is_correct ? 1 : 0;
      if (!IsPickMetric(metric)) {
        const CountedChoiceMetric& counted = FindCountedChoiceMetric(metric);
        if (counted.is_mean) item.value = CountsOf(counted, i, probabilities[i], pick)[0];
      }
      return item;
    });
  }

  std::vector<double> CountsOf(const CountedChoiceMetric& metric, size_t item,
                               const std::vector<double>& probabilities, const Pick& pick) const {
    const TaskItem& made = made_.items[item];
    std::vector<uint8_t> right;
    for (size_t c = 0; c < made.choices.size(); ++c) right.push_back(made.IsRight(c) ? 1 : 0);
    return metric.count({probabilities, right, made.ids, pick.choice});
  }

  TaskScore Counted(const TaskPart& part, const std::string& name,
                    const std::vector<std::vector<double>>& probabilities,
                    const std::vector<Pick>& picks) const {
    const CountedChoiceMetric& metric = FindCountedChoiceMetric(name);
    TaskScore score = NewScore(task_, made_, part, name);
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

  TaskScore ShareRight(const TaskPart& part, const std::string& metric,
                       const std::vector<Pick>& picks) const {
    TaskScore score = NewScore(task_, made_, part, metric);
    std::vector<uint8_t> hits;
    std::map<size_t, size_t> frequency;
    for (size_t i : part.items) {
      hits.push_back(made_.items[i].IsRight(picks[i].choice) ? 1 : 0);
      score.near_ties += picks[i].is_near_tie ? 1 : 0;
      ++frequency[made_.items[i].gold];
    }
    score.estimate = ShareOf(hits);
    score.baseline = BaselineOf(part, frequency);
    return score;
  }

  // The most frequent right choice's share. Where it is the same for every row by construction
  // (minimal pairs), the share of right answers by chance.
  double BaselineOf(const TaskPart& part, const std::map<size_t, size_t>& frequency) const {
    double sum = 0;
    if (task_.answer.IsConstant()) {
      for (size_t i : part.items) sum += 1 / static_cast<double>(asked_.items[i].count);
    } else {
      size_t most = 0;
      for (const auto& [choice, count] : frequency) most = std::max(most, count);
      sum = static_cast<double>(most);
    }
    return sum / static_cast<double>(part.items.size());
  }

  void AddMacro(const std::vector<TaskPart>& parts, const std::string& metric,
                const std::vector<Pick>& picks) {
    if (!IsPickMetric(metric)) return;
    std::vector<Estimate> estimates;
    for (const TaskPart& part : parts) {
      if (!part.name.starts_with("subset ")) continue;
      estimates.push_back(ShareRight(part, metric, picks).estimate);
    }
    if (estimates.size() < 2) return;
    result_.scores.push_back(NewScore(task_, made_, parts[0], metric + "_macro"));
    result_.scores.back().estimate = MeanOf(estimates);
  }

  void ScoreContinuations() {
    const std::vector<TaskPart> parts = PartsOf(task_, made_);
    for (const TaskPart& part : parts) {
      for (const std::string& metric : task_.metrics) {
        TaskScore score = NewScore(task_, made_, part, metric);
        if (metric == "acc") {
          std::vector<uint8_t> hits;
          for (size_t i : part.items) hits.push_back(AnswerOf(i).is_greedy ? 1 : 0);
          score.estimate = ShareOf(hits);
        } else {  // ppl: exp of the mean over items, whatever their length (LAMBADA)
          std::vector<double> losses, ones;
          for (size_t i : part.items) {
            losses.push_back(-AnswerOf(i).log_likelihood);
            ones.push_back(1);
          }
          score.estimate = ExpOf(RatioEstimate(losses, ones));
        }
        result_.scores.push_back(score);
      }
    }
    if (options_.store == nullptr) return;
    StoreItems(*options_.store, evaluation_, made_, [&](size_t i) {
      StoredItem item;
      item.is_correct = AnswerOf(i).is_greedy;
      item.value = item.is_correct ? 1 : 0;
      return item;
    });
  }

  const LikelihoodAnswer& AnswerOf(size_t item) const {
    return asked_.requests[asked_.items[item].first].answer;
  }

  const Task& task_;
  const Model& model_;
  const Tokenizer& tokenizer_;
  const std::string& model_hash_;
  const TaskRunOptions& options_;
  ThreadPool& pool_;
  Progress& progress_;
  TaskItems made_;
  TaskRequests asked_;
  int64_t evaluation_ = 0;
  TaskResult result_;
};

}  // namespace

TaskResult RunTask(const Task& task, const Model& model, const std::string& model_hash,
                   const TaskRunOptions& options, ThreadPool& pool, Progress& progress) {
  if (task.kind == TaskKind::kGeneration) {
    return RunGeneration(task, model, model_hash, options, pool, progress);
  }
  return TaskRunner(task, model, model_hash, options, pool, progress).Run();
}

ScoredDistances DistancesOnTask(const Task& task, const Model& reference, const Model& model,
                                const TaskRunOptions& options, ThreadPool& pool,
                                Progress& progress) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (task.kind == TaskKind::kGeneration) return {{kNone, kNone}, {kNone, kNone}};
  const TaskItems made = MakeItems(task, options.items, options.data_folder);
  const size_t context = std::min(reference.decoder->plan.context, model.decoder->plan.context);
  const TaskRequests asked =
      MakeTaskRequests(task, made, model.RequireTokenizer(), context, options.chat);
  const TaskRequests other =
      MakeTaskRequests(task, made, reference.RequireTokenizer(), context, options.chat);
  std::vector<LikelihoodRequest> requests;
  for (size_t i = 0; i < asked.requests.size(); ++i) {
    if (asked.requests[i].hash != other.requests[i].hash) {
      ThrowBadInput(task.name, "models whose tokenizers read the prompts alike", "others");
    }
    requests.push_back(asked.requests[i].request);
  }
  progress.Begin(StrCat(task.name, ", distance"), requests.size());
  const std::vector<ScoredDistance> distances =
      CompareScoredPositions(*reference.decoder, *model.decoder, requests, options.scorer, pool,
                             [&](uint64_t compared) { progress.Advance(compared, ""); });
  progress.End();
  std::vector<double> kl, same, ones(asked.items.size(), 1);
  for (const AskedItem& item : asked.items) {
    double kl_sum = 0, same_sum = 0;
    for (size_t c = 0; c < item.count; ++c) {
      kl_sum += distances[item.first + c].kl;
      same_sum += distances[item.first + c].same_top1;
    }
    kl.push_back(kl_sum / static_cast<double>(item.count));
    same.push_back(same_sum / static_cast<double>(item.count));
  }
  return {RatioEstimate(kl, ones), RatioEstimate(same, ones)};
}

}  // namespace qualm
