// Tasks whose items are answered with generated text: makes a prompt per item, generates the texts,
// extracts a prediction from each text, and measures predictions against the references.
#include "evaluate/generation_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "data/row_sets.h"
#include "evaluate/task_runner.h"
#include "metrics/text_metrics.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Column sums: metrics that are not means (BLEU) are computed from the counts of all rows.
std::vector<double> SumOf(std::span<const std::vector<double>> counts) {
  std::vector<double> sum(counts.empty() ? 0 : counts[0].size(), 0);
  for (const std::vector<double>& one : counts) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
  }
  return sum;
}

// The level that each group of rows reaches: the number of levels followed without a gap, from 1
// on. A row's counts are {its level, whether it was followed}; the result has {level, 1} for every
// group.
std::vector<std::vector<double>> LevelsOfGroups(std::span<const std::vector<double>> counts,
                                                std::span<const std::string> groups) {
  std::map<std::string, std::map<int, bool>> followed;
  for (size_t i = 0; i < counts.size(); ++i) {
    followed[groups[i]][static_cast<int>(counts[i][0])] = counts[i][1] != 0;
  }

  // Each level counts only if all lower ones were followed, too.
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

// Items become prompts, each with one text or several samples. The prediction extracted from a text
// is measured against the item's references by every metric of the task.
class GenerationRunner final : public TaskRunner {
 public:
  GenerationRunner(const Task& task, const Model& model, const std::string& model_hash,
                   const TaskRunOptions& options, const Context& context)
      : TaskRunner(task, model, model_hash, options, context), other_ends_(model.OtherEnds()) {
    metric_options_.bleu_tokenizer = task.generation.bleu_tokenizer;
    metric_options_.run_code = options.run_code;
    const auto& exact_match = task.generation.exact_match;
    metric_options_.exact_match = exact_match ? &*exact_match : nullptr;
    for (const std::string& name : task.metrics) metrics_.push_back(FindTextMetric(name));
  }

 private:
  // --- before any work

  // Everything that could fail later for want of a file or a permission fails here, before the
  // model runs.
  void CheckOptions() override {
    for (const TextMetric* metric : metrics_) {
      if (metric->pass_of > task_.generation.samples) {
        ThrowBadInput(task_.name, StrCat(metric->pass_of, " samples for ", metric->name),
                      StrCat(task_.generation.samples));
      }
      // Throws where programs may not be run.
      if (metric->pass_of > 0) (void)metric->count("", {}, metric_options_);
    }

    if (task_.generation.bleu_pieces.empty()) return;
    const std::filesystem::path path = options_.data_folder / task_.generation.bleu_pieces;
    // BLEU may tokenize with a SentencePiece model of its data set.
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      ThrowBadInput(task_.name, StrCat("the SentencePiece model ", path.string()), "none");
    }
    pieces_ = LoadTokenizer(path);
    metric_options_.pieces = pieces_.get();
  }

  // --- requests

  void Ask() override {
    // Under the names that TaskInputs gives the files.
    if (pieces_) AddPieceFiles(task_, *pieces_, options_.data_folder, outcome_.asked.inputs);
    for (size_t i = 0; i < outcome_.asked.items.size(); ++i) AskItem(i);
    NameEvaluation(std::span<const TextRequest>(outcome_.texts));
  }

  // Adds the requests of an item, one per sample, whose prompts leave room for the text.
  void AskItem(size_t index) {
    const TaskItem& item = outcome_.asked.items[index];
    const size_t context = model_.decoder->plan.context;
    TextRequest asked;
    asked.item = index;

    GenerationRequest& request = asked.request;
    request.max_tokens = std::min(task_.generation.max_tokens, context / 2);
    if (request.max_tokens < task_.generation.max_tokens) ++outcome_.texts_shortened;
    request.stop = task_.generation.stop;
    request.temperature = task_.generation.temperature;
    request.top_p = task_.generation.top_p;
    request.other_ends = other_ends_;

    // Shots are left out, the last one first, until the prompt leaves room for the text.
    const size_t room = context - request.max_tokens;
    asked.shots = outcome_.asked.shots;
    const auto encode = [&] {
      request.tokens = EncodeGenerationPrompt(tokenizer_, PromptText(item, asked.shots, 0, style_));
    };
    encode();
    while (asked.shots > 0 && request.tokens.size() > room) {
      --asked.shots;
      encode();
    }
    if (asked.shots < outcome_.asked.shots) ++outcome_.prompts_with_fewer_shots;

    // If that is not enough, tokens on the left are dropped; BOS stays.
    if (request.tokens.size() > room) {
      ++outcome_.prompts_truncated;
      const std::optional<TokenId> bos = tokenizer_.special().bos;
      const auto begin = request.tokens.begin() + (bos && request.tokens[0] == *bos ? 1 : 0);
      request.tokens.erase(begin, begin + static_cast<ptrdiff_t>(request.tokens.size() - room));
    }

    for (size_t sample = 0; sample < task_.generation.samples; ++sample) {
      // Greedy samples are equal, so they share a hash and are generated once.
      request.sample = request.temperature > 0 ? sample : 0;
      asked.hash = request.Hash();
      outcome_.texts.push_back(asked);
    }
  }

  void KeepRequests(ResultStore& store) override {
    for (size_t i = 0; i < outcome_.texts.size(); ++i) {
      const TextRequest& text = outcome_.texts[i];
      const TaskItem& item = outcome_.asked.items[text.item];
      StoredRequest stored;
      stored.item = text.item;
      stored.choice = i % task_.generation.samples;
      stored.request = text.hash;
      stored.continuation = item.choices[0];
      KeepRequest(item, text.shots, 0, text.request.tokens, stored, store);
    }
  }

  // --- answers

  // Texts that the store has are taken from there; the model generates the open ones.
  void Answer() override {
    outcome_.generated = AnswerAll(
        outcome_.texts, [&](std::span<const GenerationRequest> open,
                            const GenerationSink& on_answer, const GenerationPassSink& on_pass) {
          return GenerateTexts(*model_.decoder, tokenizer_, open, options_.generator, context_,
                               on_answer, on_pass);
        });
  }

  // --- scores

  // What a filter leaves of each item's texts: one prediction, or one per sample.
  std::vector<std::vector<std::string>> PredictionsOf(const AnswerFilter& filter) const {
    std::vector<std::vector<std::string>> texts(outcome_.asked.items.size());
    for (const TextRequest& text : outcome_.texts) texts[text.item].push_back(text.answer.text);

    std::vector<std::vector<std::string>> predictions;
    for (size_t i = 0; i < texts.size(); ++i) {
      QUALM_CHECK(texts[i].size() == task_.generation.samples);
      const TaskItem& item = outcome_.asked.items[i];
      predictions.push_back(filter.Predictions(texts[i], {*item.scope, item.place}));
    }
    return predictions;
  }

  using MetricCounts = std::vector<std::vector<std::vector<double>>>;  // by metric, then by item

  // One row's counts of a metric, over its predictions.
  std::vector<double> CountsOf(const TextMetric& metric, size_t item,
                               std::span<const std::string> predictions) const {
    // A filter may leave less texts than were generated.
    if (metric.pass_of > predictions.size()) {
      ThrowBadInput(outcome_.asked.items[item].place,
                    StrCat(metric.pass_of, " texts after the filters for ", metric.name),
                    StrCat(predictions.size()));
    }

    std::vector<std::vector<double>> counts;
    for (const std::string& prediction : predictions) {
      counts.push_back(
          metric.count(prediction, outcome_.asked.items[item].choices, metric_options_));
    }
    std::vector<double> sum = SumOf(counts);
    if (!metric.is_mean) return sum;
    if (metric.pass_of > 1) {
      return {PassAtK(predictions.size(), static_cast<size_t>(sum[0]), metric.pass_of), 1};
    }
    return {sum[0] / sum[1], 1};
  }

  // Counts of every row are made once; the scores of all parts of the task are sums of them.
  void Score() override {
    const std::vector<AnswerFilter>& filters = task_.generation.filters;
    std::vector<std::vector<std::vector<std::string>>> predictions;  // by filter, then by item
    std::vector<MetricCounts> counts;
    for (const AnswerFilter& filter : filters) {
      predictions.push_back(PredictionsOf(filter));
      counts.push_back(CountAll(predictions.back()));
    }

    for (const TaskPart& part : PartsOf(task_, outcome_.asked)) {
      for (size_t f = 0; f < filters.size(); ++f) {
        for (size_t m = 0; m < metrics_.size(); ++m) {
          TaskScore score = ScoreOf(*metrics_[m], part, counts[f][m]);
          // The first filter's scores have the plain names, so that tasks of one filter keep
          // theirs.
          if (filters.size() > 1) score.filter = filters[f].name();
          if (f > 0) score.metric += StrCat(",", filters[f].name());
          outcome_.scores.push_back(std::move(score));
        }
      }
    }

    // How the metrics were computed is part of what they mean.
    for (const TextMetric* metric : metrics_) {
      const std::string signature =
          SignatureOf(*metric, outcome_.asked.items[0].choices.size(), metric_options_);
      if (!signature.empty()) outcome_.signatures.push_back(StrCat(metric->name, " ", signature));
    }

    // Items carry what each filter read and its value; the first filter's are the item's own.
    for (size_t i = 0; i < outcome_.asked.items.size(); ++i) {
      ItemOutcome outcome;
      outcome.value = ItemValue(counts[0], i);
      outcome.is_right = outcome.value >= 1;
      outcome.prediction = predictions[0][i][0];
      for (size_t f = 1; f < filters.size(); ++f) {
        outcome.further.push_back(
            {filters[f].name(), predictions[f][i][0], ItemValue(counts[f], i)});
      }
      outcome_.items.push_back(std::move(outcome));
    }
  }

  // An item's value of the first metric, scaled to 0 to 1.
  double ItemValue(const MetricCounts& counts, size_t item) const {
    const double value = metrics_[0]->value(counts[0][item]);
    return std::isnan(value) ? 0 : metrics_[0]->is_share ? value : value / 100;
  }

  MetricCounts CountAll(const std::vector<std::vector<std::string>>& predictions) const {
    MetricCounts counts(metrics_.size());
    // Running programs takes time and shows progress; other metrics do not.
    const bool is_slow =
        std::ranges::any_of(metrics_, [](const TextMetric* metric) { return metric->pass_of > 0; });
    if (is_slow) context_.progress.Begin(StrCat(task_.name, ", programs"), predictions.size());

    for (size_t i = 0; i < predictions.size(); ++i) {
      for (size_t m = 0; m < metrics_.size(); ++m) {
        counts[m].push_back(CountsOf(*metrics_[m], i, predictions[i]));
      }
      if (is_slow) context_.progress.Advance(i + 1, "");
    }
    if (is_slow) context_.progress.End();
    return counts;
  }

  TaskScore ScoreOf(const TextMetric& metric, const TaskPart& part,
                    const std::vector<std::vector<double>>& all) const {
    TaskScore score = NewScore(part, metric.name);
    score.is_share = metric.is_share;

    std::vector<std::vector<double>> counts;
    std::vector<std::string> groups;
    for (size_t i : part.items) {
      counts.push_back(all[i]);
      const TaskItem& item = outcome_.asked.items[i];
      // Levels belong to a group of rows, named by subset and by the third reference.
      if (metric.name == kLevelMetric) groups.push_back(StrCat(item.subset, " ", item.choices[2]));
    }
    score.estimate = EstimateOf(metric, counts, groups);
    return score;
  }

  const std::vector<TokenId> other_ends_;
  std::vector<const TextMetric*> metrics_;
  MetricOptions metric_options_;
  std::unique_ptr<Tokenizer> pieces_;  // which `metric_options_` may point to
};

}  // namespace

// Means have the usual standard error; quotients and products of sums are bootstrapped.
Estimate EstimateOf(const TextMetric& metric, std::span<const std::vector<double>> counts,
                    std::span<const std::string> groups) {
  if (counts.empty()) return {kNone, kNone};
  const bool by_group = metric.name == kLevelMetric;
  if (!by_group && !metric.is_mean) {
    return BootstrapOf(counts, metric.value, StrCat("bootstrap ", metric.name));
  }

  // The mean over rows, or over groups of them.
  std::vector<std::vector<double>> levels;
  if (by_group) levels = LevelsOfGroups(counts, groups);
  std::vector<double> values;
  for (const std::vector<double>& row : by_group ? std::span(std::as_const(levels)) : counts) {
    values.push_back(row[0]);
  }
  return RatioEstimate(values, std::vector<double>(values.size(), 1));
}

TaskOutcome RunGeneration(const Task& task, const Model& model, const std::string& model_hash,
                          const TaskRunOptions& options, const Context& context) {
  return GenerationRunner(task, model, model_hash, options, context).Run();
}

}  // namespace qualm
