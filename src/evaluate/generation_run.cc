#include "evaluate/generation_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "evaluate/task_parts.h"
#include "evaluate/task_requests.h"
#include "metrics/text_metrics.h"
#include "model/model.h"
#include "results/store.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct AskedText {
  GenerationRequest request;
  std::string hash;
  size_t item = 0, shots = 0;
  GenerationAnswer answer;  // later
};

std::vector<double> SumOf(std::span<const std::vector<double>> counts) {
  std::vector<double> sum(counts.empty() ? 0 : counts[0].size(), 0);
  for (const std::vector<double>& one : counts) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
  }
  return sum;
}

// Levels of each group that are followed without a gap from 1 on; {levels, 1} for every group.
std::vector<std::vector<double>> LevelsOfGroups(std::span<const std::vector<double>> counts,
                                                std::span<const std::string> groups) {
  std::map<std::string, std::map<int, bool>> followed;
  for (size_t i = 0; i < counts.size(); ++i) {
    followed[groups[i]][static_cast<int>(counts[i][0])] = counts[i][1] != 0;
  }
  std::vector<std::vector<double>> levels;
  for (const auto& [group, by_level] : followed) {
    int level = 0;
    for (auto at = by_level.find(1); at != by_level.end() && at->first == level + 1 && at->second;
         ++at) {
      ++level;
    }
    levels.push_back({static_cast<double>(level), 1});
  }
  return levels;
}

class GenerationRunner {
 public:
  GenerationRunner(const Task& task, const Model& model, const std::string& model_hash,
                   const TaskRunOptions& options, ThreadPool& pool, Progress& progress)
      : task_(task),
        model_(model),
        tokenizer_(model.RequireTokenizer()),
        model_hash_(model_hash),
        options_(options),
        pool_(pool),
        progress_(progress) {
    metric_options_.bleu_tokenizer = task.generation.bleu_tokenizer;
    metric_options_.run_code = options.run_code;
    for (const std::string& name : task.metrics) metrics_.push_back(FindTextMetric(name));
  }

  TaskResult Run() {
    CheckMetrics();
    made_ = MakeItems(task_, options_.items, options_.data_folder);
    result_.note = FindRowSet(task_.data_set, task_.name).note;
    result_.rows_in_split = made_.rows_in_split;
    for (size_t i = 0; i < made_.items.size(); ++i) Ask(i);
    result_.first_request = StrCat(HeadOf(tokenizer_, asked_[0].request.tokens), " ... ",
                                   TailOf(tokenizer_, asked_[0].request.tokens));
    if (options_.store != nullptr) OpenEvaluation();
    Answer();
    Score();
    return std::move(result_);
  }

 private:
  // --- before any work

  void CheckMetrics() {
    for (const TextMetric* metric : metrics_) {
      if (metric->pass_of > task_.generation.samples) {
        ThrowBadInput(task_.name, StrCat(metric->pass_of, " samples for ", metric->name),
                      StrCat(task_.generation.samples));
      }
      if (metric->pass_of > 0) (void)metric->count("", {}, metric_options_);
    }
    if (task_.generation.bleu_pieces.empty()) return;
    const std::filesystem::path path = options_.data_folder / task_.generation.bleu_pieces;
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      ThrowBadInput(task_.name, StrCat("the SentencePiece model ", path.string()), "none");
    }
    pieces_ = LoadTokenizer(path);
    metric_options_.pieces = pieces_.get();
  }

  // --- requests

  void Ask(size_t index) {
    const TaskItem& item = made_.items[index];
    const size_t context = model_.decoder->plan.context;
    AskedText asked;
    asked.item = index;
    GenerationRequest& request = asked.request;
    request.max_tokens = std::min(task_.generation.max_tokens, context / 2);
    if (request.max_tokens < task_.generation.max_tokens) ++result_.texts_shortened;
    request.stop = task_.generation.stop;
    request.temperature = task_.generation.temperature;
    request.top_p = task_.generation.top_p;
    const size_t room = context - request.max_tokens;
    asked.shots = made_.shots;
    const auto encode = [&] {
      request.tokens =
          EncodeGenerationPrompt(tokenizer_, PromptText(item, asked.shots, 0, options_.chat));
    };
    encode();
    while (asked.shots > 0 && request.tokens.size() > room) {
      --asked.shots;
      encode();
    }
    if (asked.shots < made_.shots) ++result_.prompts_with_fewer_shots;
    if (request.tokens.size() > room) {
      ++result_.prompts_truncated;
      const std::optional<TokenId> bos = tokenizer_.special().bos;
      const auto begin = request.tokens.begin() + (bos && request.tokens[0] == *bos ? 1 : 0);
      request.tokens.erase(begin, begin + static_cast<ptrdiff_t>(request.tokens.size() - room));
    }
    for (size_t sample = 0; sample < task_.generation.samples; ++sample) {
      request.sample = request.temperature > 0 ? sample : 0;
      asked.hash = request.Hash();
      asked_.push_back(asked);
    }
  }

  void OpenEvaluation() {
    ResultStore& store = *options_.store;
    std::vector<std::string> hashes;
    for (const AskedText& one : asked_) hashes.push_back(one.hash);
    store.Begin();
    evaluation_ = PutEvaluationOf(task_, made_, model_, model_hash_, options_, hashes);
    for (size_t i = 0; i < asked_.size(); ++i) {
      const TaskItem& item = made_.items[asked_[i].item];
      StoredRequest stored;
      stored.item = asked_[i].item;
      stored.choice = i % task_.generation.samples;
      stored.request = asked_[i].hash;
      SetStoredPrompt(item, asked_[i].shots, 0, options_.chat, stored);
      stored.continuation = item.choices[0];
      stored.tokens = asked_[i].request.tokens.size();
      stored.head = HeadOf(tokenizer_, asked_[i].request.tokens);
      stored.tail = TailOf(tokenizer_, asked_[i].request.tokens);
      store.PutRequest(evaluation_, stored);
    }
    store.Commit();
  }

  // --- answers

  static FinishReason ReasonOf(std::string_view name) {
    for (FinishReason reason : {FinishReason::kStop, FinishReason::kEos}) {
      if (name == FinishReasonName(reason)) return reason;
    }
    return FinishReason::kLength;
  }

  void Answer() {
    std::vector<GenerationRequest> open;
    std::vector<size_t> index;
    for (size_t i = 0; i < asked_.size(); ++i) {
      if (options_.store != nullptr) {
        if (auto found =
                options_.store->FindText(model_hash_, asked_[i].hash, kGenerationProtocol)) {
          asked_[i].answer = {std::move(found->text), found->tokens, ReasonOf(found->reason)};
          ++result_.answers_found;
          continue;
        }
      }
      open.push_back(asked_[i].request);
      index.push_back(i);
    }
    progress_.Begin(task_.name, asked_.size());
    std::vector<size_t> fresh;
    result_.generated = GenerateTexts(
        *model_.decoder, tokenizer_, open, options_.generator, pool_,
        [&](std::span<const size_t> equal, const GenerationAnswer& answer) {
          for (size_t i : equal) asked_[index[i]].answer = answer;
          fresh.push_back(index[equal[0]]);
        },
        [&](uint64_t answered) {
          Keep(fresh);
          fresh.clear();
          progress_.Advance(result_.answers_found + answered, "");
        });
    progress_.End();
  }

  void Keep(std::span<const size_t> answered) {
    if (options_.store == nullptr || answered.empty()) return;
    options_.store->Begin();
    for (size_t i : answered) {
      const GenerationAnswer& answer = asked_[i].answer;
      options_.store->PutText(
          model_hash_, asked_[i].hash, kGenerationProtocol,
          {answer.text, answer.tokens, std::string(FinishReasonName(answer.reason))});
    }
    options_.store->Commit();
  }

  // --- scores

  std::string PredictionOf(const AskedText& asked) const {
    const TaskItem& item = made_.items[asked.item];
    Json scope = *item.scope;
    scope["generated"] = asked.answer.text;
    return task_.generation.prediction.Render(scope, item.place);
  }

  // One row's counts of a metric, over its samples.
  std::vector<double> CountsOf(const TextMetric& metric, size_t item,
                               std::span<const std::string> predictions) const {
    std::vector<std::vector<double>> counts;
    for (const std::string& prediction : predictions) {
      counts.push_back(metric.count(prediction, made_.items[item].choices, metric_options_));
    }
    std::vector<double> sum = SumOf(counts);
    if (!metric.is_mean) return sum;
    if (metric.pass_of > 1) {
      return {PassAtK(predictions.size(), static_cast<size_t>(sum[0]), metric.pass_of), 1};
    }
    return {sum[0] / sum[1], 1};
  }

  void Score() {
    const size_t samples = task_.generation.samples;
    std::vector<std::vector<std::string>> predictions(made_.items.size());
    for (const AskedText& asked : asked_) {
      predictions[asked.item].push_back(PredictionOf(asked));
    }
    std::vector<std::vector<std::vector<double>>> counts(metrics_.size());  // by metric and item
    // Running programs takes its time; other metrics do not.
    const bool is_slow =
        std::ranges::any_of(metrics_, [](const TextMetric* metric) { return metric->pass_of > 0; });
    if (is_slow) progress_.Begin(StrCat(task_.name, ", programs"), made_.items.size());
    for (size_t i = 0; i < made_.items.size(); ++i) {
      QUALM_CHECK(predictions[i].size() == samples);
      for (size_t m = 0; m < metrics_.size(); ++m) {
        counts[m].push_back(CountsOf(*metrics_[m], i, predictions[i]));
      }
      if (is_slow) progress_.Advance(i + 1, "");
    }
    if (is_slow) progress_.End();
    for (const TaskPart& part : PartsOf(task_, made_)) {
      for (size_t m = 0; m < metrics_.size(); ++m) {
        result_.scores.push_back(ScoreOf(*metrics_[m], part, counts[m]));
      }
    }
    for (const TextMetric* metric : metrics_) {
      const std::string signature =
          SignatureOf(*metric, made_.items[0].choices.size(), metric_options_);
      if (!signature.empty()) result_.signatures.push_back(StrCat(metric->name, " ", signature));
    }
    if (options_.store == nullptr) return;
    StoreItems(*options_.store, evaluation_, made_, [&](size_t i) {
      StoredItem item;
      const TextMetric& metric = *metrics_[0];
      const double value = metric.value(counts[0][i]);
      item.value = std::isnan(value) ? 0 : metric.is_share ? value : value / 100;
      item.is_correct = item.value >= 1;
      item.prediction = predictions[i][0];
      return item;
    });
  }

  TaskScore ScoreOf(const TextMetric& metric, const TaskPart& part,
                    const std::vector<std::vector<double>>& all) const {
    TaskScore score = NewScore(task_, made_, part, metric.name);
    score.is_share = metric.is_share;
    std::vector<std::vector<double>> counts;
    std::vector<std::string> groups;
    for (size_t i : part.items) {
      counts.push_back(all[i]);
      const TaskItem& item = made_.items[i];
      if (metric.name == kLevelMetric) groups.push_back(StrCat(item.subset, " ", item.choices[2]));
    }
    score.estimate = EstimateOf(metric, counts, groups);
    return score;
  }

  const Task& task_;
  const Model& model_;
  const Tokenizer& tokenizer_;
  const std::string& model_hash_;
  const TaskRunOptions& options_;
  ThreadPool& pool_;
  Progress& progress_;
  std::vector<const TextMetric*> metrics_;
  MetricOptions metric_options_;
  std::unique_ptr<Tokenizer> pieces_;
  TaskItems made_;
  std::vector<AskedText> asked_;  // samples of a row follow one another
  int64_t evaluation_ = 0;
  TaskResult result_;
};

}  // namespace

Estimate EstimateOf(const TextMetric& metric, std::span<const std::vector<double>> counts,
                    std::span<const std::string> groups) {
  if (counts.empty()) return {kNone, kNone};
  const bool by_group = metric.name == kLevelMetric;
  if (!by_group && !metric.is_mean) {
    return BootstrapOf(counts, metric.value, StrCat("bootstrap ", metric.name));
  }
  std::vector<std::vector<double>> levels;
  if (by_group) levels = LevelsOfGroups(counts, groups);
  std::vector<double> values;
  for (const std::vector<double>& one : by_group ? std::span(std::as_const(levels)) : counts)
    values.push_back(one[0]);
  return RatioEstimate(values, std::vector<double>(values.size(), 1));
}

TaskResult RunGeneration(const Task& task, const Model& model, const std::string& model_hash,
                         const TaskRunOptions& options, ThreadPool& pool, Progress& progress) {
  return GenerationRunner(task, model, model_hash, options, pool, progress).Run();
}

}  // namespace qualm
