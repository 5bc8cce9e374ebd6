// Runs the tests of a study: scores a text by its perplexity or a task by its rows, and turns what
// the scorers return into the columns of a stage's record.
#include "study/evaluate_stage.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "data/named_corpora.h"
#include "data/overlap.h"
#include "evaluate/perplexity.h"
#include "evaluate/protocol.h"
#include "evaluate/task_run.h"
#include "evaluate/window_journal.h"
#include "model/model.h"
#include "results/store.h"
#include "study/planning_steps.h"

namespace qualm {
namespace {

constexpr size_t kMostSamples = 1000;     // of a test, for reading
constexpr size_t kMostPromptBytes = 600;  // the end of a prompt is what is asked

double FiniteOrNone(double value) { return std::isfinite(value) ? value : kNoNumber; }

// The last bytes of a text, from the beginning of a character on.
std::string EndOf(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  size_t at = text.size() - most;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return StrCat("…", text.substr(at));
}

// How much of a test's text the model saw during calibration: the share of its 13-grams whose
// hashes are stored next to the model. Unknown if the folder has no such hashes. Call Add for the
// token ids of each item, then Sum.
class OverlapCounter {
 public:
  explicit OverlapCounter(const Model& model) : seen_(ReadGramHashes(model.folder)) {}

  bool is_known() const { return seen_.has_value(); }
  void Add(std::span<const TokenId> ids) {
    const Overlap overlap = MeasureOverlap(*seen_, ids);
    sum_.grams += overlap.grams;
    sum_.found += overlap.found;
  }
  std::optional<OverlapOutcome> Sum() const {
    return is_known() ? std::optional(sum_) : std::nullopt;
  }

 private:
  std::optional<std::vector<uint64_t>> seen_;
  OverlapOutcome sum_;
};

// --- perplexity

// Windows that an earlier, killed run has scored are taken from the journal. With a reference both
// models run, and their distance is part of the scores.
TextScores ScoreText(const PerplexityText& text, const std::string& key, const WorkFolder& work,
                     const Model& model, const Model* reference, const Context& context) {
  WindowJournal journal(work.Windows(key), key);
  PerplexityOptions options;
  options.known = [&](size_t t, size_t window) { return journal.Find(t, window); };
  options.keep = [&](size_t t, size_t window, const WindowRows& rows) {
    journal.Put(t, window, rows);
  };

  const DecoderScoringModel own(*model.decoder);
  std::optional<DecoderScoringModel> other;
  if (reference != nullptr) other.emplace(*reference->decoder);
  const ScoredModels models{&own, other ? &*other : nullptr, nullptr};
  return ScorePerplexity(models, std::vector<PerplexityText>{text}, options, context)[0];
}

// --- tasks

// One task on one model. The constructor selects rows and finds the store; Run asks, scores, and
// makes the record's columns from the one outcome that RunTask returns.
class TaskStage {
 public:
  TaskStage(const Stage& stage, const StudyPlan& plan, const WorkFolder& work, const Model& model)
      : stage_(stage),
        plan_(plan),
        inputs_(std::get<EvaluateInputs>(stage.inputs)),
        model_(model),
        task_(FindTask(inputs_.task.path)),
        store_(work.Answers(stage.key)) {
    SelectCategory(task_, inputs_.category, stage.label);
    options_.data_folder = plan.data_folder;
    options_.items = inputs_.rows.Options();
    options_.items.shots = inputs_.shots;
    options_.items.limit = inputs_.limit;
    options_.store = &store_;
    options_.run_code = false;
    if (inputs_.chat) FindTemplate();
    // Rows that are not the planned ones are not worth a forward pass.
    options_.on_inputs = [this](InputSet& opened) {
      plan_.RequireUnchanged(stage_, opened, task_.name);
    };
  }

  RowsOutcome Run(const Context& context) {
    // The float model's files were compared with the planned ones: its hash is known.
    const std::string hash = inputs_.quantize.empty() ? inputs_.model_hash : model_.Hash();
    const TaskOutcome run = RunTask(task_, model_, hash, options_, context);
    return {.task = run.key.task,
            .task_version = task_.version,
            .metric = task_.metrics[0],
            .shots = run.asked.shots,
            .rows = run.items.size(),
            .rows_in_split = run.asked.rows_in_split,
            .prompts_with_fewer_shots = run.prompts_with_fewer_shots,
            .prompts_truncated = run.prompts_truncated,
            .note = run.note,
            .first_request = run.first_request,
            .scores = ScoresOf(run),
            .items = ColumnsOf(run),
            .samples = SamplesOf(run),
            .overlap = OverlapOf(run)};
  }

 private:
  // The float model's template, also where a quantized one is asked: it was planned with that.
  void FindTemplate() {
    chat_.emplace(FindChatTemplate(inputs_.chat_template.path, inputs_.model.path,
                                   ChatOptionsOf(*inputs_.chat, ChatKeys())));
    InputSet opened = chat_->inputs();
    plan_.RequireUnchanged(stage_, opened, "the chat template");
    options_.style.chat = &*chat_;
    options_.style.chat_settings = *inputs_.chat;
    task_.variant += options_.style.For(task_).Variant();
  }

  // Of the whole task; parts are left out.
  static std::vector<ScoreOutcome> ScoresOf(const TaskOutcome& run) {
    std::vector<ScoreOutcome> scores;
    for (const TaskScore& score : run.scores) {
      if (!score.part.empty()) continue;
      scores.push_back({.metric = score.metric,
                        .value = FiniteOrNone(score.estimate.value),
                        .standard_error = FiniteOrNone(score.estimate.standard_error),
                        .baseline = FiniteOrNone(score.baseline),
                        .n = score.n});
    }
    return scores;
  }

  RowColumns ColumnsOf(const TaskOutcome& run) const {
    RowColumns columns;
    std::map<std::string, uint64_t> clusters;  // numbers by name
    for (size_t i = 0; i < run.items.size(); ++i) {
      const ItemOutcome& item = run.items[i];
      columns.value.push_back(std::isnan(item.value) ? 0 : item.value);
      columns.right.push_back(item.is_right ? 1 : 0);
      columns.near_tie.push_back(item.is_near_tie ? 1 : 0);
      columns.picked.push_back(item.picked);
      columns.gold.push_back(item.gold);
      if (task_.kind == TaskKind::kMultipleChoice) columns.log_likelihoods.push_back(item.choices);

      // An item without a cluster is a cluster by itself.
      const std::string& name = run.asked.items[i].cluster;
      const std::string key = name.empty() ? StrCat("item ", i) : StrCat("of ", name);
      columns.cluster.push_back(clusters.emplace(key, clusters.size()).first->second);
    }
    return columns;
  }

  // The first rows as people read them. Prompts and right answers are stored with the float model
  // only, because they are the same for every model.
  std::vector<SampleOutcome> SamplesOf(const TaskOutcome& run) const {
    std::vector<SampleOutcome> samples;
    for (size_t i = 0; i < std::min(run.items.size(), kMostSamples); ++i) {
      const TaskItem& asked = run.asked.items[i];
      SampleOutcome sample{.item = i, .answer = AnswerOf(run, i)};
      // The report shows these next to the answers of all models.
      if (inputs_.quantize.empty()) {
        sample.row = asked.place;
        sample.prompt =
            EndOf(asked.ContextOf(asked.contexts.size() == 1 ? 0 : asked.gold), kMostPromptBytes);
        sample.right = EndOf(RightAnswerOf(asked), kMostPromptBytes);
      }
      samples.push_back(std::move(sample));
    }
    return samples;
  }

  // The text that counts as right; a generation task may accept several, of which this is the
  // first.
  std::string RightAnswerOf(const TaskItem& asked) const {
    if (task_.kind == TaskKind::kGeneration) return asked.choices.empty() ? "" : asked.choices[0];
    return asked.continuations[task_.kind == TaskKind::kMultipleChoice ? asked.gold : 0];
  }

  // What the model answered, as far as its kind of task has a text for that.
  std::string AnswerOf(const TaskOutcome& run, size_t index) const {
    const TaskItem& asked = run.asked.items[index];
    const ItemOutcome& item = run.items[index];
    switch (task_.kind) {
      case TaskKind::kMultipleChoice:
        if (item.picked < 0) return "";
        return EndOf(asked.continuations[static_cast<size_t>(item.picked)], kMostPromptBytes);
      case TaskKind::kContinuation:
        return item.is_right ? asked.continuations[0] : "";
      case TaskKind::kGeneration:
        return EndOf(run.texts[index * task_.generation.samples].answer.text, kMostPromptBytes);
    }
    return "";
  }

  // Overlap is measured on the question with its right answer, which is what could have been
  // learned.
  std::optional<OverlapOutcome> OverlapOf(const TaskOutcome& run) const {
    OverlapCounter overlap(model_);
    if (!overlap.is_known()) return std::nullopt;
    for (const TaskItem& item : run.asked.items) {
      const size_t right = item.continuations.size() == 1 ? 0 : item.gold;
      overlap.Add(model_.RequireTokenizer().Encode(
          StrCat(item.ContextOf(right), item.continuations[right])));
    }
    return overlap.Sum();
  }

  const Stage& stage_;
  const StudyPlan& plan_;
  const EvaluateInputs& inputs_;
  const Model& model_;
  Task task_;
  ResultStore store_;
  std::optional<ChatTemplate> chat_;
  TaskRunOptions options_;
};

}  // namespace

TextOutcome EvaluateText(const Stage& stage, const StudyPlan& plan, const WorkFolder& work,
                         const Model& model, const Model* reference, const Context& context) {
  const auto& inputs = std::get<EvaluateInputs>(stage.inputs);
  // The text must still be the one that the stage's key was made from.
  Corpus corpus = FindCorpus(inputs.corpus.path, CorpusUse::kEvaluation, plan.data_folder,
                             {.text_field = inputs.text_field});
  plan.RequireUnchanged(stage, corpus.inputs, inputs.corpus.path);

  // Cut into windows as the protocol says, and scored.
  const PerplexityProtocol& protocol = FindProtocol(inputs.protocol);
  const size_t seqlen = ResolveSeqlen(protocol, inputs.seqlen, model.decoder->plan.context);
  const PerplexityText text = PrepareText(protocol, corpus.name, corpus.Joined(),
                                          model.RequireTokenizer(), seqlen, inputs.limit);
  const TextScores scores = ScoreText(text, stage.key, work, model, reference, context);
  if (!std::isfinite(scores.ppl.value)) {
    ThrowFailed(stage.label, "the perplexity is not finite: the model's logits overflow");
  }

  // Totals, and a column for each property of a window.
  TextOutcome outcome;
  outcome.protocol = protocol.name;
  outcome.protocol_version = protocol.version;
  outcome.seqlen = seqlen;
  outcome.windows = scores.windows;
  outcome.tokens = scores.targets;
  outcome.ppl = scores.ppl;
  outcome.items.loss = scores.window_nll;

  OverlapCounter overlap(model);
  for (const Window& window : text.windows) {
    outcome.items.weight.push_back(window.weight);
    outcome.items.cluster.push_back(outcome.items.cluster.size());
    if (overlap.is_known()) overlap.Add(text.WindowIds(window));
  }
  outcome.overlap = overlap.Sum();
  if (const auto& comparison = scores.comparison) {
    outcome.distance = DistanceOutcome{.kl = comparison->kl_mean,
                                       .kl_median = comparison->kl_median,
                                       .kl_p99 = comparison->kl_p99,
                                       .same_top1 = comparison->top1_agreement,
                                       .rms_delta_p = comparison->rms_delta_p};
  }

  // The record follows at once: the journal has done its work.
  std::error_code ignored;
  std::filesystem::remove(work.Windows(stage.key), ignored);
  return outcome;
}

RowsOutcome EvaluateTask(const Stage& stage, const StudyPlan& plan, const WorkFolder& work,
                         const Model& model, const Context& context) {
  return TaskStage(stage, plan, work, model).Run(context);
}

}  // namespace qualm
