// Loads each model without its blocks: enough for its hash, its sizes, its tokenizer, and what it
// configures.
#include "judge/candidates.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "evaluate/protocol_record.h"
#include "io/hash.h"
#include "model/model_sizes.h"

namespace qualm {
namespace {

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

// The model goes away before its tokenizer is needed again.
std::shared_ptr<const Tokenizer> LoadTokenizerOf(const Model& model) {
  (void)model.RequireTokenizer();
  return LoadTokenizer(model.folder);
}

PerplexityText Prepare(const JudgedCorpus& corpus, const Tokenizer& tokenizer, size_t seqlen,
                       const JudgeOptions& options) {
  return PrepareText(FindProtocol(options.protocol), corpus.name, corpus.content, tokenizer, seqlen,
                     options.limit);
}

Candidate Describe(const Model& model, JudgedReading reading) {
  Candidate candidate;
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
  return candidate;
}

// llama.cpp's file has the text as token ids, and no model.
JudgedReference OpenLogits(const ModelSource& source, const std::vector<ModelSource>& files,
                           const JudgeOptions& options, const Context& context) {
  if (options.protocol != "llama.cpp") {
    ThrowBadInput("--protocol", "llama.cpp, as the reference's file was made", options.protocol);
  }
  JudgedReference reference;
  reference.logits = std::make_shared<const LlamaLogits>(source.folder);
  const LlamaLogits& logits = *reference.logits;
  reference.source = source;
  reference.seqlen = logits.context();
  if (options.seqlen != 0 && options.seqlen != logits.context()) {
    ThrowBadInput("--seqlen", StrCat(logits.context(), ", as in ", source.name),
                  StrCat(options.seqlen));
  }
  reference.note =
      StrCat("the reference's log-probabilities are stored in 16 bits, in steps of up to ",
             Significant(logits.largest_step(), 2),
             " nats, and not at all where they are more than 16 below their position's largest: ",
             Significant(logits.MeanUnknown(), 2),
             " of the probability on average; KL and log perplexity are off by about as much");
  reference.hash = StrCat("llama.cpp-logits:", HashFile(source.folder));
  reference.vocab = logits.vocab_size();

  // Whether BOS replaced each window's first token is the vocabulary's to say.
  const Model model = LoadModel(files.front(), {.without_blocks = true}, context);
  const SpecialTokens& special = model.RequireTokenizer().special();
  reference.texts.push_back(
      TextOf(logits, source.name, options.limit, special.add_bos ? special.bos : std::nullopt));
  return reference;
}

void AddFile(const Model& model, JudgedReading reading, const JudgedReference& reference,
             const std::vector<JudgedCorpus>& corpora, const JudgeOptions& options,
             std::vector<Candidate>& candidates) {
  Candidate candidate = Describe(model, reading);
  candidate.tokenizer = reference.tokenizer;
  if (model.tokenizer != nullptr) {
    candidate.tokenizer = LoadTokenizerOf(model);
  } else {
    candidate.row.notes.push_back("it has no tokenizer: the reference's is used");
  }
  const size_t vocab = model.decoder->plan.vocab_size();
  if (reference.logits) {
    candidate.texts = reference.texts;
    if (vocab != reference.vocab) {
      ThrowBadInput(candidate.source.name, StrCat("a vocabulary of ", reference.vocab, " tokens"),
                    StrCat(vocab));
    }
  }
  if (reference.seqlen != 0) {
    (void)ResolveSeqlen(FindProtocol(options.protocol), reference.seqlen,
                        model.decoder->plan.context);
  }

  // Positions are compared one by one, so every token must be the reference's.
  for (size_t i = 0; i < corpora.size(); ++i) {
    JudgedText& judged = candidate.row.texts.emplace_back();
    PerplexityText text = Prepare(corpora[i], *candidate.tokenizer, reference.seqlen, options);
    const PerplexityText& wanted = reference.texts[i];
    judged.has_own_tokens =
        text.ids != wanted.ids || text.window_bos != wanted.window_bos || vocab != reference.vocab;
    if (judged.has_own_tokens) {
      candidate.row.notes.push_back(
          StrCat(text.name,
                 ": other token ids or another vocabulary than the reference's; only bits "
                 "per byte are compared"));
    }
    candidate.texts.push_back(std::move(text));
  }
  candidates.push_back(std::move(candidate));
}

}  // namespace

void Candidate::Fail(const Error& error, const Context& context) {
  row.error = error.what();
  row.texts.clear();
  row.tasks.clear();
  context.progress.Warn(StrCat(row.label, ": ", error.what()));
}

JudgedReference OpenReference(const ModelSource& source, const std::vector<ModelSource>& files,
                              const std::vector<JudgedCorpus>& corpora, const JudgeOptions& options,
                              const Context& context, std::vector<Candidate>& candidates) {
  if (LlamaLogits::IsOne(source.folder)) return OpenLogits(source, files, options, context);
  const Model model = LoadModel(source, {.without_blocks = true}, context);
  const ModelPlan& plan = model.decoder->plan;
  JudgedReference reference;
  reference.source = source;
  // Tasks alone need no windows.
  if (options.tasks.empty() || !corpora.empty()) {
    reference.seqlen = ResolveSeqlen(FindProtocol(options.protocol), options.seqlen, plan.context);
  }
  reference.vocab = plan.vocab_size();
  reference.hidden = plan.hidden_size;
  reference.tokenizer = LoadTokenizerOf(model);
  for (const JudgedCorpus& corpus : corpora) {
    reference.texts.push_back(Prepare(corpus, *reference.tokenizer, reference.seqlen, options));
  }

  Candidate own = Describe(model, JudgedReading::kReference);
  own.texts = reference.texts;
  own.tokenizer = reference.tokenizer;
  reference.hash = own.row.hash;
  candidates.push_back(own);

  // How far rounding to bfloat16 alone goes: differences of that size mean nothing.
  if (!options.noise_floor || model.is_quantized() || corpora.empty()) return reference;
  own.row.reading = JudgedReading::kNoiseFloor;
  own.row.weights = "computed in bfloat16";
  own.row.hash += "+bf16";
  own.load.compute_in_bf16 = true;
  candidates.push_back(std::move(own));
  return reference;
}

void OpenFile(const ModelSource& source, const JudgedReference& reference,
              const std::vector<JudgedCorpus>& corpora, const JudgeOptions& options,
              const Context& context, std::vector<Candidate>& candidates) {
  const auto open = [&](bool weights_only) {
    ModelSource read = source;
    read.read.weights_only = weights_only;
    return LoadModel(read, {.without_blocks = true}, context);
  };
  try {
    const Model model = open(false);
    if (!ConfiguresActivations(model)) {
      AddFile(model, JudgedReading::kAll, reference, corpora, options, candidates);
      return;
    }
    AddFile(open(true), JudgedReading::kWeightsOnly, reference, corpora, options, candidates);
    if (options.weights_only) return;
    AddFile(model, JudgedReading::kAsConfigured, reference, corpora, options, candidates);
  } catch (const Error& error) {
    Candidate& failed = candidates.emplace_back();
    failed.source = source;
    failed.row.label = failed.row.path = source.name;
    failed.Fail(error, context);
  }
}

void ShortenLabels(std::vector<Candidate>& candidates) {
  const auto short_name = [](const std::string& path) {
    const std::filesystem::path whole(path);
    return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  };
  std::map<std::string, std::set<std::string>> by_name;
  for (const Candidate& one : candidates) by_name[short_name(one.row.path)].insert(one.row.path);
  for (Candidate& one : candidates) {
    const std::string name = short_name(one.row.path);
    if (by_name[name].size() == 1) one.row.label = name;
  }
}

}  // namespace qualm
