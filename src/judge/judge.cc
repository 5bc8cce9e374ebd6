// Opens all files, decides what is missing in the store, runs the reference for that if it must,
// then each file, and puts everything together from the store.
#include "judge/judge.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "evaluate/llama_logits.h"
#include "evaluate/reference_states.h"
#include "io/hash.h"
#include "judge/candidates.h"
#include "judge/conclusions.h"
#include "judge/measured_speed.h"
#include "model/model.h"
#include "study/machine.h"
#include "tensor/isa.h"

namespace qualm {
namespace {

// Raised when what is kept of a window changes its meaning.
constexpr int kWindowVersion = 1;

// The states' part of the folder; it is large, and removed when all rows are there.
constexpr const char* kStatesName = "reference-states";

// What the store knows a window by: all that decides its numbers, apart from the models.
std::string NameOf(const std::vector<TokenId>& ids, const Window& window) {
  Hasher hasher;
  hasher.Add(StrCat("window ", kWindowVersion, " ", window.first_target));
  hasher.Add(ids.data(), ids.size() * sizeof(TokenId));
  return hasher.Hex();
}

// The bytes of the text that the scored tokens of a window stand for.
size_t ScoredBytes(const PerplexityText& text, const Window& window, const Tokenizer& tokenizer) {
  const auto ids = std::span<const TokenId>(text.ids).subspan(window.begin, window.tokens);
  return tokenizer.Decode(ids).size() - tokenizer.Decode(ids.first(window.first_target)).size();
}

class Court {
 public:
  Court(JudgeOptions options, const std::filesystem::path& folder, const Context& context)
      : options_(std::move(options)),
        folder_(folder),
        context_(context),
        store_((folder / "results.db").string()) {
    TaskRunOptions& asking = options_.task_options;
    asking.store = &store_;
    // How tasks are asked is part of their names.
    for (Task& task : options_.tasks) {
      task.variant += asking.style.For(task).Variant() + SplitVariant(task, asking.items);
    }
  }

  Verdict Run(const ModelSource& reference, const std::vector<ModelSource>& files,
              const std::vector<JudgedCorpus>& corpora) {
    reference_ = OpenReference(reference, files, corpora, options_, context_, candidates_);
    for (const ModelSource& file : files) {
      OpenFile(file, reference_, corpora, options_, context_, candidates_);
    }
    ShortenLabels(candidates_);

    // The reference first, if anything is missing that needs it.
    if (NeedsStates()) RecordReference();
    for (Candidate& candidate : candidates_) JudgeRow(candidate);
    return Conclude();
  }

 private:
  // --- What is missing.

  bool IsPaired(const Candidate& candidate, size_t text) const {
    if (candidate.row.reading == JudgedReading::kReference) return false;
    return candidate.row.texts.empty() || text >= candidate.row.texts.size() ||
           !candidate.row.texts[text].has_own_tokens;
  }

  // The numbers of a window, if the store has them whole.
  std::optional<WindowRows> Find(const Candidate& candidate, size_t text, size_t window) const {
    const PerplexityText& of = candidate.texts[text];
    const std::string reference = IsPaired(candidate, text) ? reference_.hash : "";
    const std::optional<std::string> bytes =
        store_.FindWindow(candidate.row.hash, reference,
                          NameOf(of.WindowIds(of.windows[window]), of.windows[window]));
    if (!bytes) return std::nullopt;
    size_t used = 0;
    std::optional<WindowRows> rows = WindowRowsOf(*bytes, used);
    const bool is_whole = rows && used == bytes->size() &&
                          rows->nll.size() == of.windows[window].targets() &&
                          rows->comparison.empty() == reference.empty();
    return is_whole ? std::move(rows) : std::nullopt;
  }

  void Keep(const Candidate& candidate, size_t text, size_t window, const WindowRows& rows) {
    const PerplexityText& of = candidate.texts[text];
    store_.Begin();
    store_.PutWindow(candidate.row.hash, IsPaired(candidate, text) ? reference_.hash : "",
                     NameOf(of.WindowIds(of.windows[window]), of.windows[window]), BytesOf(rows));
    store_.Commit();
  }

  bool HasAll(const Candidate& candidate, size_t text) const {
    for (size_t w = 0; w < candidate.texts[text].windows.size(); ++w) {
      if (!Find(candidate, text, w)) return false;
    }
    return true;
  }

  bool NeedsStates() const {
    if (reference_.logits) return false;
    return std::ranges::any_of(candidates_, [&](const Candidate& candidate) {
      if (!candidate.row.error.empty()) return false;
      for (size_t t = 0; t < candidate.texts.size(); ++t) {
        const bool needs =
            IsPaired(candidate, t) || candidate.row.reading == JudgedReading::kReference;
        if (needs && !HasAll(candidate, t)) return true;
      }
      return false;
    });
  }

  // --- Running.

  // Runs the whole reference and keeps its states and its own scores.
  void RecordReference() {
    states_.emplace(folder_ / kStatesName, reference_.hash, reference_.hidden);
    Candidate& reference = candidates_.front();
    const auto has = [&](size_t text, size_t window) -> std::optional<WindowRows> {
      const PerplexityText& of = reference.texts[text];
      if (!states_->Has(of.WindowIds(of.windows[window]))) return std::nullopt;
      return Find(reference, text, window);
    };
    bool is_whole = true;
    size_t tokens = 0;
    for (size_t t = 0; t < reference.texts.size(); ++t) {
      for (size_t w = 0; w < reference.texts[t].windows.size(); ++w) {
        is_whole = is_whole && has(t, w).has_value();
        tokens += reference.texts[t].windows[w].tokens;
      }
    }
    if (is_whole) return;

    context_.progress.Info(StrCat(reference.row.label, ": the reference; its states take ",
                                  HumanBytes(tokens * reference_.hidden * sizeof(float)), " in ",
                                  folder_.string(), " until all files are judged"));
    const Model model = LoadModel(reference_.source, {}, context_);
    const DecoderScoringModel scoring(*model.decoder);
    const RecordingModel recording(scoring, *states_);
    (void)ScorePerplexity(
        {.model = &recording}, reference.texts,
        {.batch = options_.batch,
         .known = has,
         .keep = [&](size_t text, size_t window,
                     const WindowRows& rows) { Keep(reference, text, window, rows); }},
        context_);
    RunTasks(reference, model);
  }

  void JudgeRow(Candidate& candidate) {
    if (!candidate.row.error.empty()) return;
    try {
      RunRow(candidate);
      Summarise(candidate);
      MeasureRow(candidate);
    } catch (const Error& error) {
      candidate.Fail(error, context_);
    }
  }

  // Texts and tasks, with the model in memory only if something is missing.
  void RunRow(Candidate& candidate) {
    std::vector<size_t> paired, alone;  // texts that are not whole yet
    for (size_t t = 0; t < candidate.texts.size(); ++t) {
      if (!HasAll(candidate, t)) (IsPaired(candidate, t) ? paired : alone).push_back(t);
    }
    const bool asks = candidate.row.reading != JudgedReading::kNoiseFloor &&
                      candidate.row.tasks.size() < options_.tasks.size();
    if (paired.empty() && alone.empty() && !asks) return;

    context_.progress.Info(StrCat(TitleOf(candidate.row)));
    Model model = LoadModel(candidate.source, candidate.load, context_);
    if (model.tokenizer == nullptr && !reference_.logits)
      model.tokenizer = LoadTokenizer(reference_.source.folder);
    const DecoderScoringModel scoring(*model.decoder);
    for (const size_t t : alone) ScoreText(candidate, t, {.model = &scoring});
    if (!paired.empty()) ScorePaired(candidate, paired, scoring);
    if (asks) RunTasks(candidate, model);
  }

  void ScorePaired(const Candidate& candidate, const std::vector<size_t>& texts,
                   const ScoringModel& scoring) {
    if (reference_.logits) {
      const LlamaLogitsModel stored(*reference_.logits, reference_.texts.front());
      for (const size_t t : texts) ScoreText(candidate, t, {&scoring, &stored});
      return;
    }
    const Model head = LoadModel(reference_.source, {.without_blocks = true}, context_);
    const RecordedModel recorded(*head.decoder, *states_);
    for (const size_t t : texts) ScoreText(candidate, t, {&scoring, &recorded});
  }

  void ScoreText(const Candidate& candidate, size_t text, const ScoredModels& models) {
    (void)ScorePerplexity(
        models, {&candidate.texts[text], 1},
        {.batch = options_.batch,
         .known = [&](size_t, size_t window) { return Find(candidate, text, window); },
         .keep = [&](size_t, size_t window,
                     const WindowRows& rows) { Keep(candidate, text, window, rows); }},
        context_);
  }

  void RunTasks(Candidate& candidate, const Model& model) {
    for (const Task& task : options_.tasks) {
      TaskOutcome outcome =
          RunTask(task, model, candidate.row.hash, options_.task_options, context_);
      if (!outcome.note.empty()) candidate.row.notes.push_back(outcome.note);
      candidate.row.tasks.push_back({.name = outcome.key.task,
                                     .score = outcome.scores.front(),
                                     .key = outcome.key,
                                     .items = std::move(outcome.items)});
    }
  }

  // All numbers of the texts, from the store.
  void Summarise(Candidate& candidate) {
    candidate.row.texts.resize(candidate.texts.size());
    for (size_t t = 0; t < candidate.texts.size(); ++t) {
      const PerplexityText& text = candidate.texts[t];
      JudgedText& judged = candidate.row.texts[t];
      std::vector<double> bits, bytes;
      judged.scores = ScoresOfWindows(text, [&](size_t w) {
        WindowRows rows = *Find(candidate, t, w);
        double nll = 0, kl = 0;
        for (const double value : rows.nll) nll += value;
        for (const RowComparison& row : rows.comparison) kl += row.kl;
        const auto targets = static_cast<double>(rows.nll.size());
        judged.windows.weights.push_back(text.windows[w].weight);
        judged.windows.nll.push_back(nll / targets);
        judged.windows.targets.push_back(targets);
        if (!rows.comparison.empty()) judged.windows.kl.push_back(kl);
        bits.push_back(nll / std::log(2.0));
        if (candidate.tokenizer != nullptr) {
          bytes.push_back(
              static_cast<double>(ScoredBytes(text, text.windows[w], *candidate.tokenizer)));
        }
        return rows;
      });
      constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
      judged.bits_per_byte = bytes.empty() ? Estimate{kNone, kNone} : RatioEstimate(bits, bytes);
    }
  }

  // Speed is a measurement: it is kept with what it depends on.
  void MeasureRow(Candidate& candidate) {
    if (!options_.speed || candidate.row.reading == JudgedReading::kNoiseFloor) return;
    SpeedOptions speed = *options_.speed;
    const size_t context = ReadModelPlan(candidate.source).context;
    speed.prompt = std::min(speed.prompt, std::max<size_t>(1, context / 2));
    speed.gen = std::min(speed.gen, std::max<size_t>(1, context / 4));
    const std::string what =
        StrCat("speed ", speed.prompt, "+", speed.gen, " x", speed.repetitions, ", ", Machine());
    if (const std::optional<std::string> known = store_.FindMeasurement(candidate.row.hash, what)) {
      candidate.row.speed = SpeedOf(*known, folder_.string());
      return;
    }
    candidate.row.speed = MeasureSpeed(candidate.source, speed, context_);
    store_.Begin();
    store_.PutMeasurement(candidate.row.hash, what, TextOf(*candidate.row.speed));
    store_.Commit();
  }

  // --- What it says.

  Verdict Conclude() {
    const PerplexityProtocol& protocol = FindProtocol(options_.protocol);
    verdict_.protocol = protocol.name;
    verdict_.protocol_version = protocol.version;
    verdict_.seqlen = reference_.seqlen;
    verdict_.reference_note = reference_.note;
    verdict_.limit = options_.limit;
    verdict_.machine = Machine();
    bool is_whole = true;
    for (Candidate& candidate : candidates_) {
      is_whole = is_whole && candidate.row.error.empty();
      verdict_.rows.push_back(std::move(candidate.row));
    }
    MarkFronts(verdict_.rows);
    verdict_.pairs = PairsOf(verdict_.rows);

    // A file that failed may be judged again after it was repaired; states of an earlier run, too,
    // have no use from here on.
    if (is_whole) {
      states_.reset();
      std::error_code ignored;
      std::filesystem::remove(folder_ / kStatesName, ignored);
    }
    return std::move(verdict_);
  }

  static std::string TitleOf(const JudgedRow& row) {
    return row.reading == JudgedReading::kAll || row.reading == JudgedReading::kReference
               ? row.label
               : StrCat(row.label, ", ", NameOfEnum(row.reading));
  }

  std::string Machine() const {
    return StrCat(ProcessorName(), ", ", InstructionSet(), ", ", context_.pool.threads(),
                  " threads");
  }

  JudgeOptions options_;
  const std::filesystem::path folder_;
  const Context& context_;
  ResultStore store_;

  JudgedReference reference_;
  std::optional<ReferenceStates> states_;
  std::vector<Candidate> candidates_;
  Verdict verdict_;
};

}  // namespace

EnumNames NamesOfEnum(JudgedReading) {
  static constexpr std::array<std::string_view, 5> kNames = {"reference", "noise_floor", "all",
                                                             "weights_only", "as_configured"};
  return {"reading of a judged file", kNames};
}

Verdict Judge(const ModelSource& reference, const std::vector<ModelSource>& files,
              const std::vector<JudgedCorpus>& corpora, JudgeOptions options,
              const std::filesystem::path& folder, const Context& context) {
  QUALM_CHECK(!files.empty());
  return Court(std::move(options), folder, context).Run(reference, files, corpora);
}

}  // namespace qualm
