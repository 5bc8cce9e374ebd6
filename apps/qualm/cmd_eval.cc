// qualm eval: scores a model, on texts (perplexity under a named protocol, and the distance to a
// reference model) or on tasks (task_eval.cc).
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "chat_flags.h"
#include "cli.h"
#include "corpus_flags.h"
#include "data/named_corpora.h"
#include "data/overlap.h"
#include "evaluate/metric_rows.h"
#include "evaluate/perplexity.h"
#include "evaluate/protocol.h"
#include "evaluate/protocol_record.h"
#include "model/model.h"
#include "model_flags.h"
#include "task_eval.h"
#include "tensor/isa.h"

namespace qualm::cli {

namespace {

// Flags of texts; those of tasks are in TaskFlags, and some serve both.
struct Options {
  TaskFlags tasks;
  ModelFlags model;
  CorpusFlags texts;
  std::string reference;
  std::vector<std::string> reference_config;
  size_t limit = 0;
  bool noise_floor = false;
};

// The model and, depending on the flags, the reference and the reference computed in bfloat16.
struct LoadedModels {
  Model model;
  std::optional<Model> reference, rounded;

  // `storage` holds the objects that the views point to; both refer to these models.
  ScoredModels Views(std::vector<DecoderScoringModel>& storage) const {
    storage.reserve(3);
    ScoredModels views;
    views.model = &storage.emplace_back(*model.decoder);
    if (reference) views.reference = &storage.emplace_back(*reference->decoder);
    if (rounded) views.rounded_reference = &storage.emplace_back(*rounded->decoder);
    return views;
  }
};

LoadedModels LoadModels(const Options& options, const Context& context) {
  LoadedModels models;
  models.model = LoadModel(SourceOf(options.model), {}, context);
  ModelSource reference;
  if (!options.reference.empty()) {
    reference = SourceOf({.name = options.reference,
                          .config = options.reference_config,
                          .ignored_tensors = options.model.ignored_tensors,
                          .gptq_zeros = options.model.gptq_zeros,
                          .weights = options.model.weights,
                          .weights_only = options.model.weights_only});
    models.reference = LoadModel(reference, {}, context);
  }

  // The noise floor is the distance of the reference to itself in lower precision.
  if (options.noise_floor) {
    if (models.reference->is_quantized()) {
      ThrowBadInput("--noise-floor", "a reference with float weights", options.reference);
    }
    models.rounded = LoadModel(reference, {.compute_in_bf16 = true}, context);
  }
  return models;
}

// The texts as token ids of the model's tokenizer, with how they were made (protocol_record.h) in
// `protocols`. Positions are compared one by one, so a reference whose folder has a tokenizer must
// read the same tokens.
std::vector<PerplexityText> PrepareTexts(const Options& options, const LoadedModels& models,
                                         const PerplexityProtocol& protocol, size_t seqlen,
                                         Progress& progress, Json& protocols) {
  const Tokenizer& tokenizer = models.model.RequireTokenizer();
  std::vector<PerplexityText> texts;
  // A corpus is read once and tokenised as a whole.
  for (const std::string& path : options.texts.corpora) {
    const NamedText corpus = ReadCorpus(options.texts, path, progress);
    const std::string& name = corpus.name;
    const std::string& text = corpus.text;
    texts.push_back(PrepareText(protocol, name, text, tokenizer, seqlen, options.limit));
    protocols.push_back(
        TextProtocolJson(texts.back(), text, protocol, seqlen, options.limit, models.model));

    // The reference's tokenizer must agree in every token.
    if (!models.reference || !models.reference->tokenizer) continue;
    const PerplexityText other =
        PrepareText(protocol, name, text, *models.reference->tokenizer, seqlen, options.limit);
    if (other.ids != texts.back().ids || other.window_bos != texts.back().window_bos) {
      ThrowBadInput(options.reference, StrCat("a tokenizer that reads ", path, " as the model's"),
                    "other tokens", "compare only models that share their tokenizer");
    }
  }
  return texts;
}

// Shows the first and last 8 tokens of the first window (PROTOCOLS 4), with the BOS that replaces
// its first token if the protocol asks for one.
void ReportFirstWindow(const PerplexityText& text, const Tokenizer& tokenizer, Progress& progress) {
  std::vector<TokenId> window = text.WindowIds(text.windows.front());
  std::span<const TokenId> ids(window);
  size_t shown = std::min<size_t>(8, ids.size());
  progress.Info(StrCat(text.name, ": first window ", IdsAndPieces(tokenizer, ids.first(shown)),
                       " ... ", IdsAndPieces(tokenizer, ids.last(shown))));
}

Json RowsAsJson(const Options& options, const LoadedModels& models,
                const std::vector<MetricRow>& rows, Json protocols) {
  // One object per metric.
  Json results = Json::array();
  for (const MetricRow& row : rows) {
    results.push_back({{"corpus", row.corpus},
                       {"metric", row.metric},
                       {"value", NumberOrNull(row.estimate.value)},
                       {"stderr", NumberOrNull(row.estimate.standard_error)},
                       {"n", row.windows},
                       {"n_tokens", row.targets},
                       {"protocol", row.protocol},
                       {"protocol_version", row.protocol_version},
                       {"seqlen", row.seqlen}});
  }

  // Hashes and instruction set, so that the numbers can be reproduced.
  Json json = {{"model", options.model.name},
               {"model_hash", models.model.Hash()},
               {"compute_type", "float32"},
               {"instruction_set", InstructionSet()}};
  if (models.reference) {
    json["reference"] = options.reference;
    json["reference_hash"] = models.reference->Hash();
  }
  json["results"] = std::move(results);
  json["protocols"] = std::move(protocols);
  return json;
}

// Six significant digits; perplexities and divergences differ by many powers of ten.
std::string Short(double value) { return std::isnan(value) ? "-" : Significant(value, 6); }

// Two digits are enough for an error; empty if there is none.
std::string ShortError(double value) {
  return std::isnan(value) ? "" : StrCat("± ", Significant(value, 2));
}

// One line per metric; the noise floor has a column instead of rows.
std::string RowsAsTable(const std::vector<MetricRow>& rows, bool noise_floor) {
  std::vector<std::vector<std::string>> table = {
      {"corpus", "metric", "value", "stderr", "n", "tokens"}};
  if (noise_floor) table[0].push_back("noise floor");
  for (const MetricRow& row : rows) {
    if (row.metric.starts_with(kNoiseFloorPrefix)) continue;
    table.push_back({row.corpus, row.metric, Short(row.estimate.value),
                     ShortError(row.estimate.standard_error), StrCat(row.windows),
                     StrCat(row.targets)});

    // Its noise floor, if there is one, has the same name with a prefix.
    for (const MetricRow& other : rows) {
      if (other.corpus == row.corpus && other.metric == kNoiseFloorPrefix + row.metric) {
        table.back().push_back(Short(other.estimate.value));
      }
    }
  }
  return FormatTable(table, {false, false, true, true, true, true, true});
}

// Runs tasks instead of texts; flags that both know have the same meaning.
int RunTasks(const Options& options, const Globals& globals) {
  TaskFlags flags = options.tasks;
  flags.model = options.model;
  flags.reference = options.reference;
  flags.reference_config = options.reference_config;
  flags.data = options.texts.data;
  flags.limit = options.limit;
  return EvaluateTasks(flags, globals);
}

int Run(const Options& options, const Globals& globals) {
  if (!options.tasks.tasks.empty()) return RunTasks(options, globals);

  // The window must fit into the context of both models.
  const PerplexityProtocol& protocol = FindProtocol(options.texts.protocol);
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};
  const LoadedModels models = LoadModels(options, context);
  const size_t seqlen =
      ResolveSeqlen(protocol, options.texts.seqlen, models.model.decoder->plan.context);
  if (models.reference) {
    ResolveSeqlen(protocol, seqlen, models.reference->decoder->plan.context);
  }

  Json protocols = Json::array();
  const std::vector<PerplexityText> texts =
      PrepareTexts(options, models, protocol, seqlen, *progress, protocols);

  for (const PerplexityText& text : texts) {
    ReportFirstWindow(text, *models.model.tokenizer, *progress);
  }

  // All models see the same windows, so differences are paired.
  std::vector<DecoderScoringModel> storage;
  const std::vector<TextScores> scores =
      ScorePerplexity(models.Views(storage), texts, {.batch = options.texts.batch}, context);

  // The share of the text that calibration has seen, if the model was quantized with data.
  const std::optional<std::vector<uint64_t>> seen =
      models.model.manifest ? ReadGramHashes(models.model.folder) : std::nullopt;

  std::vector<MetricRow> rows;
  for (size_t i = 0; i < scores.size(); ++i) {
    for (MetricRow& row : MetricRows(scores[i], protocol, seqlen)) rows.push_back(std::move(row));
    if (seen) rows.push_back(OverlapRow(texts[i], *seen, protocol, seqlen));
  }

  // The warning has said already that a perplexity is not a number; scripts see it by the exit
  // code.
  const bool is_finite = std::ranges::all_of(
      scores, [](const TextScores& text) { return std::isfinite(text.ppl.value); });
  if (globals.json) {
    PrintJson(RowsAsJson(options, models, rows, std::move(protocols)));
    return is_finite ? kOk : kFailed;
  }

  Print(StrCat("model     ", options.model.name, "\n"));
  if (models.reference) Print(StrCat("reference ", options.reference, "\n"));
  Print(StrCat("protocol  ", protocol.name, " (version ", protocol.version, "), seqlen ", seqlen,
               "; errors over n windows\n\n"));
  Print(RowsAsTable(rows, options.noise_floor));
  return is_finite ? kOk : kFailed;
}

}  // namespace

Command AddEval(Arguments& arguments, Globals& globals) {
  auto options = std::make_shared<Options>();
  // What is scored.
  AddModelFlags(arguments, options->model, "MODEL", "A model, float or quantized");
  AddCorpusFlags(arguments, options->texts, "the model");
  arguments
      .Add("--task", options->tasks.tasks,
           "Tasks or groups ('qualm list tasks'), single subsets (mmlu:anatomy), or .yaml files, "
           "also "
           "lm-evaluation-harness's, separated by commas")
      .OnePerFlag();

  // Flags for tasks.
  AddPromptFlags(arguments, options->tasks.prompt);
  arguments.Add("--store", options->tasks.store,
                "Keep every answer in this file, and take those that are there");
  arguments
      .Add("--batch-tokens", options->tasks.batch_tokens,
           "Tokens of a forward pass on tasks, about; changes no result")
      .ShowDefault()
      .Positive();
  arguments.Flag("--chat", options->tasks.prompt.chat,
                 "Ask as the model's own chat template says; a separate result");
  arguments.Flag("--skip-missing", options->tasks.skip_missing,
                 "Leave out tasks whose data is not available, and say so");
  arguments.Flag("--run-code", options->tasks.run_code,
                 "Run programs that the model writes (pass@k), in a sandbox without network");

  // Flags for both, and the reference.
  const Argument reference = arguments.Add(
      "--reference", options->reference, "A model to compare with, token by token (usually float)");
  arguments
      .Add("--reference-config", options->reference_config,
           "As --config, for the reference; --ignore-tensors serves both")
      .OnePerFlag()
      .Needs(reference);
  arguments
      .Add("--limit", options->limit,
           "Only the first N windows of each corpus, or N drawn rows of each task")
      .Positive();
  arguments
      .Flag("--noise-floor", options->noise_floor,
            "Also compare the reference with itself computed in bfloat16")
      .Needs(reference);

  AddJsonFlag(arguments, globals);
  arguments.Check([options]() -> std::string {
    const bool has_texts = !options->texts.corpora.empty(),
               has_tasks = !options->tasks.tasks.empty();
    if (has_texts && has_tasks) return "[--task] expected no --corpus in addition; got both";
    if (std::string complaint = ComplaintAbout(options->tasks.prompt); !complaint.empty()) {
      return complaint;
    }
    return has_texts || has_tasks ? "" : "[eval] expected --corpus or --task; got neither";
  });

  arguments.Examples(
      "  qualm eval MODEL --corpus test.txt\n"
      "  qualm eval QUANTIZED --reference MODEL --noise-floor --corpus in.txt --corpus "
      "out.txt\n"
      "  qualm eval MODEL --protocol llama.cpp --corpus wiki.test.raw --limit 20 --json\n"
      "  qualm eval QUANTIZED --task mmlu,hellaswag --shots 5 --store results.db --reference "
      "MODEL\n"
      "  qualm eval MODEL --task my_task.yaml,mmlu-lm-eval:anatomy --data DATA\n"
      "  qualm eval MODEL --task gsm8k --chat --chat-option enable_thinking=false");
  return [options, &globals] { return Run(*options, globals); };
}

}  // namespace qualm::cli
