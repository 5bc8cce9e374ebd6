// What is judged: the reference and the files, opened without their blocks, with the texts as each
// one's tokenizer reads them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evaluate/llama_logits.h"
#include "judge/judge.h"
#include "model/model.h"

namespace qualm {

// A row in the making.
struct Candidate {
  ModelSource source;
  LoadOptions load;
  std::vector<PerplexityText> texts;
  std::shared_ptr<const Tokenizer> tokenizer;  // that read them; null: unknown
  JudgedRow row;

  // The row has an error and nothing else; the user is told.
  void Fail(const Error& error, const Context& context);
};

// What every candidate is compared with.
struct JudgedReference {
  std::shared_ptr<const LlamaLogits> logits;  // in place of a model; null: none
  ModelSource source;
  std::string hash;
  std::string note;  // what is not exact about it; empty: nothing
  size_t vocab = 0, hidden = 0, seqlen = 0;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<PerplexityText> texts;
};

// Opens the reference; its row, and its noise floor where it has one, go to `candidates`. Of
// `files` the first one says whether windows of llama.cpp's file begin with BOS. Throws bad input
// for a reference that cannot be used, and for a text that is shorter than a window.
JudgedReference OpenReference(const ModelSource& source, const std::vector<ModelSource>& files,
                              const std::vector<JudgedCorpus>& corpora, const JudgeOptions& options,
                              const Context& context, std::vector<Candidate>& candidates);

// Adds one row, two where the file configures more than weights, or one with the error of a file
// that cannot be opened.
void OpenFile(const ModelSource& source, const JudgedReference& reference,
              const std::vector<JudgedCorpus>& corpora, const JudgeOptions& options,
              const Context& context, std::vector<Candidate>& candidates);

// The last parts of the paths, where they tell the files apart.
void ShortenLabels(std::vector<Candidate>& candidates);

}  // namespace qualm
