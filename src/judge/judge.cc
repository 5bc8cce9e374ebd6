// Opens all files, decides what is missing in the store, runs the reference for that if it must,
// then each file, and puts everything together from the store.
#include "judge/judge.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "analysis/loss_table.h"
#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "evaluate/llama_logits.h"
#include "evaluate/protocol_record.h"
#include "evaluate/reference_states.h"
#include "io/hash.h"
#include "judge/measured_speed.h"
#include "model/model.h"
#include "model/model_sizes.h"
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

bool ConfiguresActivations(const Model& model) {
  if (const QuantizedLayers* layers = model.checkpoint->quantized().layers()) {
    return layers->description().rounds_activations;
  }
  if (!model.manifest) return false;
  return model.manifest->kv_cache.has_value() ||
         std::ranges::any_of(model.manifest->layers, [](const LayerRecord& layer) {
           return layer.activations.has_value();
         });
}

// The bytes of the text that the scored tokens of a window stand for.
size_t ScoredBytes(const PerplexityText& text, const Window& window, const Tokenizer& tokenizer) {
  const auto ids = std::span<const TokenId>(text.ids).subspan(window.begin, window.tokens);
  return tokenizer.Decode(ids).size() - tokenizer.Decode(ids.first(window.first_target)).size();
}

// A row in the making: what is judged, under which texts.
struct Candidate {
  ModelSource source;
  LoadOptions load;
  std::vector<PerplexityText> texts;
  std::shared_ptr<const Tokenizer> tokenizer;  // that read them; null: unknown
  JudgedRow row;
};

class Court {
 public:
  Court(JudgeOptions options, const std::filesystem::path& folder, const Context& context)
      : options_(std::move(options)),
        protocol_(FindProtocol(options_.protocol)),
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
    if (LlamaLogits::IsOne(reference.folder)) {
      OpenLogits(reference, files);
    } else {
      OpenReference(reference, corpora);
    }
    for (const ModelSource& file : files) OpenFile(file, corpora);
    ShortenLabels();

    // The reference first, if anything is missing that needs it.
    if (NeedsStates()) RecordReference();
    for (Candidate& candidate : candidates_) JudgeRow(candidate);
    return Conclude();
  }

 private:
  // --- What is judged.

  void OpenReference(const ModelSource& source, const std::vector<JudgedCorpus>& corpora) {
    const Model model = LoadModel(source, {.without_blocks = true}, context_);
    const size_t context = model.decoder->plan.context;
    verdict_.seqlen = options_.tasks.empty() || !corpora.empty()
                          ? ResolveSeqlen(protocol_, options_.seqlen, context)
                          : 0;
    Candidate& reference = candidates_.emplace_back();
    Describe(model, JudgedReading::kReference, reference);
    reference_hash_ = reference.row.hash;
    reference_ = source;
    vocab_ = model.decoder->plan.vocab_size();
    hidden_ = model.decoder->plan.hidden_size;

    reference_tokenizer_ = LoadTokenizerOf(model);
    for (const JudgedCorpus& corpus : corpora) {
      reference_texts_.push_back(Prepare(corpus, *reference_tokenizer_));
    }
    reference.texts = reference_texts_;
    reference.tokenizer = reference_tokenizer_;

    // How far rounding to bfloat16 alone goes: differences of that size mean nothing.
    if (!options_.noise_floor || model.is_quantized() || corpora.empty()) return;
    Candidate floor = reference;
    floor.row.reading = JudgedReading::kNoiseFloor;
    floor.row.weights = "computed in bfloat16";
    floor.row.hash += "+bf16";
    floor.load.compute_in_bf16 = true;
    candidates_.push_back(std::move(floor));
  }

  // llama.cpp's file has the text as token ids, and no model.
  void OpenLogits(const ModelSource& source, const std::vector<ModelSource>& files) {
    if (options_.protocol != "llama.cpp") {
      ThrowBadInput("--protocol", "llama.cpp, as the reference's file was made", options_.protocol);
    }
    logits_.emplace(source.folder);
    verdict_.seqlen = logits_->context();
    if (options_.seqlen != 0 && options_.seqlen != logits_->context()) {
      ThrowBadInput("--seqlen", StrCat(logits_->context(), ", as in ", source.name),
                    StrCat(options_.seqlen));
    }
    verdict_.reference_note =
        StrCat("the reference's log-probabilities are stored in 16 bits, in steps of up to ",
               Scientific(logits_->largest_step()),
               " nats, and not at all where they are more than 16 below their position's largest: ",
               Scientific(logits_->MeanUnknown()),
               " of the probability on average; KL and log perplexity are off by about as much");
    reference_hash_ = StrCat("llama.cpp-logits:", HashFile(source.folder));
    vocab_ = logits_->vocab_size();

    // Whether BOS replaced each window's first token is the vocabulary's to say.
    const Model model = LoadModel(files.front(), {.without_blocks = true}, context_);
    const SpecialTokens& special = model.RequireTokenizer().special();
    reference_texts_.push_back(TextOf(*logits_, source.name, options_.limit,
                                      special.add_bos ? special.bos : std::nullopt));
  }

  // One row, or two where the file configures more than weights.
  void OpenFile(const ModelSource& source, const std::vector<JudgedCorpus>& corpora) {
    ModelSource whole = source;
    whole.read.weights_only = false;
    try {
      const Model model = LoadModel(whole, {.without_blocks = true}, context_);
      if (!ConfiguresActivations(model)) {
        AddFile(model, JudgedReading::kAll, corpora);
        return;
      }
      ModelSource weights = source;
      weights.read.weights_only = true;
      AddFile(LoadModel(weights, {.without_blocks = true}, context_), JudgedReading::kWeightsOnly,
              corpora);
      if (!options_.weights_only) AddFile(model, JudgedReading::kAsConfigured, corpora);
    } catch (const Error& error) {
      Candidate& failed = candidates_.emplace_back();
      failed.source = source;
      failed.row.label = failed.row.path = source.name;
      Fail(failed, error);
    }
  }

  void AddFile(const Model& model, JudgedReading reading,
               const std::vector<JudgedCorpus>& corpora) {
    Candidate candidate;
    Describe(model, reading, candidate);
    candidate.tokenizer = reference_tokenizer_;
    if (model.tokenizer != nullptr) {
      candidate.tokenizer = LoadTokenizerOf(model);
    } else {
      candidate.row.notes.push_back("it has no tokenizer: the reference's is used");
    }
    if (logits_) {
      candidate.texts = reference_texts_;
      if (model.decoder->plan.vocab_size() != vocab_) {
        ThrowBadInput(source_name(candidate), StrCat("a vocabulary of ", vocab_, " tokens"),
                      StrCat(model.decoder->plan.vocab_size()));
      }
    }
    if (verdict_.seqlen != 0) {
      (void)ResolveSeqlen(protocol_, verdict_.seqlen, model.decoder->plan.context);
    }

    // Positions are compared one by one, so every token must be the reference's.
    for (size_t i = 0; i < corpora.size(); ++i) {
      JudgedText& judged = candidate.row.texts.emplace_back();
      PerplexityText text = Prepare(corpora[i], *candidate.tokenizer);
      const PerplexityText& wanted = reference_texts_[i];
      judged.has_own_tokens = text.ids != wanted.ids || text.window_bos != wanted.window_bos ||
                              model.decoder->plan.vocab_size() != vocab_;
      if (judged.has_own_tokens) {
        candidate.row.notes.push_back(
            StrCat(text.name,
                   ": other token ids or another vocabulary than the reference's; only bits "
                   "per byte are compared"));
      }
      candidate.texts.push_back(std::move(text));
    }
    candidates_.push_back(std::move(candidate));
  }

  static const std::string& source_name(const Candidate& candidate) {
    return candidate.source.name;
  }

  PerplexityText Prepare(const JudgedCorpus& corpus, const Tokenizer& tokenizer) const {
    return PrepareText(protocol_, corpus.name, corpus.content, tokenizer, verdict_.seqlen,
                       options_.limit);
  }

  // A model goes away before its tokenizer is needed again.
  std::shared_ptr<const Tokenizer> LoadTokenizerOf(const Model& model) const {
    (void)model.RequireTokenizer();
    return LoadTokenizer(model.folder);
  }

  void Describe(const Model& model, JudgedReading reading, Candidate& candidate) const {
    candidate.source = model.source;
    JudgedRow& row = candidate.row;
    row.label = row.path = model.source.name;
    row.reading = reading;
    row.weights = WeightsText(model);
    row.hash = model.Hash();
    const ModelSizes sizes = SizesOf(*model.checkpoint, model.manifest);
    row.file_bytes = sizes.file_bytes;
    row.parameters = sizes.parameters;
    row.bits_per_weight = sizes.bits_per_weight;
    if (const QuantizedLayers* layers = model.checkpoint->quantized().layers()) {
      row.notes = layers->description().warnings;
    }
  }

  // The last parts of the paths that tell the files apart.
  void ShortenLabels() {
    std::map<std::string, std::set<std::string>> by_name;
    const auto short_name = [](const std::string& path) {
      const std::filesystem::path whole(path);
      return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
    };
    for (const Candidate& one : candidates_) by_name[short_name(one.row.path)].insert(one.row.path);
    for (Candidate& one : candidates_) {
      const std::string name = short_name(one.row.path);
      if (by_name[name].size() == 1) one.row.label = name;
    }
  }

  // --- What is missing.

  bool IsPaired(const Candidate& candidate, size_t text) const {
    if (candidate.row.reading == JudgedReading::kReference) return false;
    return candidate.row.texts.empty() || text >= candidate.row.texts.size() ||
           !candidate.row.texts[text].has_own_tokens;
  }

  // The numbers of a window, if the store has them whole.
  std::optional<WindowRows> Find(const Candidate& candidate, size_t text, size_t window) const {
    const PerplexityText& of = candidate.texts[text];
    const std::string reference = IsPaired(candidate, text) ? reference_hash_ : "";
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
    store_.PutWindow(candidate.row.hash, IsPaired(candidate, text) ? reference_hash_ : "",
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
    if (logits_) return false;
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
    states_.emplace(folder_ / kStatesName, reference_hash_, hidden_);
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
                                  HumanBytes(tokens * hidden_ * sizeof(float)), " in ",
                                  folder_.string(), " until all files are judged"));
    const Model model = LoadModel(reference_, {}, context_);
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
      Fail(candidate, error);
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
    if (model.tokenizer == nullptr && !logits_) model.tokenizer = LoadTokenizer(reference_.folder);
    const DecoderScoringModel scoring(*model.decoder);
    for (const size_t t : alone) ScoreText(candidate, t, {.model = &scoring});
    if (!paired.empty()) ScorePaired(candidate, paired, scoring);
    if (asks) RunTasks(candidate, model);
  }

  void ScorePaired(const Candidate& candidate, const std::vector<size_t>& texts,
                   const ScoringModel& scoring) {
    if (logits_) {
      const LlamaLogitsModel stored(*logits_, reference_texts_.front());
      for (const size_t t : texts) ScoreText(candidate, t, {&scoring, &stored});
      return;
    }
    const Model head = LoadModel(reference_, {.without_blocks = true}, context_);
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

  void Fail(Candidate& candidate, const Error& error) {
    candidate.row.error = error.what();
    candidate.row.texts.clear();
    candidate.row.tasks.clear();
    context_.progress.Warn(StrCat(candidate.row.label, ": ", error.what()));
  }

  // --- What it says.

  Verdict Conclude() {
    verdict_.protocol = protocol_.name;
    verdict_.protocol_version = protocol_.version;
    verdict_.limit = options_.limit;
    verdict_.machine = Machine();
    bool is_whole = true;
    for (Candidate& candidate : candidates_) {
      is_whole = is_whole && candidate.row.error.empty();
      verdict_.rows.push_back(std::move(candidate.row));
    }
    MarkFronts();
    AddPairs();

    // A file that failed may be judged again after it was repaired.
    if (is_whole && states_) {
      states_.reset();
      std::error_code ignored;
      std::filesystem::remove(folder_ / kStatesName, ignored);
    }
    return std::move(verdict_);
  }

  void MarkFronts() {
    for (size_t t = 0; t < reference_texts_.size(); ++t) {
      std::vector<JudgedRow*> rows;
      for (JudgedRow& row : verdict_.rows) {
        if (row.is_file() && t < row.texts.size() && row.texts[t].scores.comparison) {
          rows.push_back(&row);
        }
      }
      const auto kl = [&](const JudgedRow* row) {
        return row->texts[t].scores.comparison->kl_mean.value;
      };
      for (JudgedRow* row : rows) {
        row->texts[t].is_on_front = std::ranges::none_of(rows, [&](const JudgedRow* other) {
          const bool as_good = other->file_bytes <= row->file_bytes && kl(other) <= kl(row);
          return as_good && (other->file_bytes < row->file_bytes || kl(other) < kl(row));
        });
      }
    }
  }

  // Every pair under every measure that both have; one family for Holm's adjustment.
  void AddPairs() {
    const std::vector<JudgedRow>& rows = verdict_.rows;
    for (size_t a = 0; a < rows.size(); ++a) {
      if (rows[a].reading == JudgedReading::kNoiseFloor) continue;
      for (size_t b = a + 1; b < rows.size(); ++b) {
        if (rows[b].reading == JudgedReading::kNoiseFloor) continue;
        AddTextPairs(a, b);
        AddTaskPairs(a, b);
      }
    }
    std::vector<double> p;
    for (const JudgedPair& pair : verdict_.pairs) p.push_back(pair.test.p);
    p = HolmAdjusted(p);
    for (size_t i = 0; i < p.size(); ++i) verdict_.pairs[i].p_holm = p[i];
  }

  void AddTextPairs(size_t a, size_t b) {
    const std::vector<JudgedText>&first = verdict_.rows[a].texts, &second = verdict_.rows[b].texts;
    for (size_t t = 0; t < std::min(first.size(), second.size()); ++t) {
      if (first[t].has_own_tokens || second[t].has_own_tokens) continue;
      const PairedWindows &one = first[t].windows, &other = second[t].windows;
      verdict_.pairs.push_back(
          {a, b, "log ppl", first[t].scores.name, TestLogPerplexity(one, other)});
      if (one.kl.empty() || other.kl.empty()) continue;
      verdict_.pairs.push_back({a, b, "KL", first[t].scores.name, TestKl(one, other)});
    }
  }

  void AddTaskPairs(size_t a, size_t b) {
    for (const JudgedTask& first : verdict_.rows[a].tasks) {
      for (const JudgedTask& second : verdict_.rows[b].tasks) {
        EvaluationKey wanted = first.key;
        wanted.model = second.key.model;
        if (second.key != wanted) continue;
        const auto is_accuracy = [](const JudgedTask& task) {
          return std::ranges::all_of(task.items, [](const ItemOutcome& item) {
            return item.value == (item.is_right ? 1 : 0);
          });
        };
        const PairedComparison paired = ComparePaired(first.items, second.items);
        verdict_.pairs.push_back({a, b, first.score.metric, first.name,
                                  TestItems(paired, is_accuracy(first) && is_accuracy(second))});
      }
    }
  }

  static std::string TitleOf(const JudgedRow& row) {
    return row.reading == JudgedReading::kAll || row.reading == JudgedReading::kReference
               ? row.label
               : StrCat(row.label, ", ", NameOfEnum(row.reading));
  }

  static std::string Scientific(double value) {
    char buffer[32];
    std::snprintf(buffer, sizeof(buffer), "%.2g", value);
    return buffer;
  }

  std::string Machine() const {
    return StrCat(ProcessorName(), ", ", InstructionSet(), ", ", context_.pool.threads(),
                  " threads");
  }

  JudgeOptions options_;
  const PerplexityProtocol& protocol_;
  const std::filesystem::path folder_;
  const Context& context_;
  ResultStore store_;

  ModelSource reference_;
  std::string reference_hash_;
  size_t vocab_ = 0, hidden_ = 0;
  std::shared_ptr<const Tokenizer> reference_tokenizer_;
  std::vector<PerplexityText> reference_texts_;
  std::optional<LlamaLogits> logits_;
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
