// Files of one model, of any tool and format, judged next to one another against a reference, over
// the same tokens: how large they are, how far their distributions are from the reference's, what
// they make of tasks, how fast they run, and which of the differences can be chance.
//
// One model is in memory at a time. The reference runs first, and its final hidden states go to a
// file (evaluate/reference_states.h); from then on only its head is in memory next to the model
// that is compared. Every number of a window is kept in the store as soon as it is known: the same
// command continues a run that was killed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "efficiency/measure.h"
#include "evaluate/comparison.h"
#include "evaluate/perplexity.h"
#include "evaluate/task_run.h"
#include "judge/pairs.h"
#include "model/model_source.h"

namespace qualm {

struct Context;

// A text by the name that results have for it.
struct JudgedCorpus {
  std::string name, content;
};

struct JudgeOptions {
  std::string protocol = "gptq";
  size_t seqlen = 0;  // tokens of a window; 0: the protocol's, at most the reference's context
  size_t limit = 0;   // windows of each text; 0: all
  size_t batch = 0;   // see PerplexityOptions
  bool weights_only = false;  // no rows that round activations and caches
  bool noise_floor = true;    // a row of the reference computed in bfloat16
  std::vector<Task> tasks;
  TaskRunOptions task_options;        // without a store
  std::optional<SpeedOptions> speed;  // empty: not measured
};

// Which of the things that a file configures a row applies.
enum class JudgedReading : uint8_t {
  kReference,
  kNoiseFloor,    // the reference, computed in bfloat16
  kAll,           // the file configures nothing but weights
  kWeightsOnly,   // activations and caches are not rounded though the file says so
  kAsConfigured,  // they are
};
EnumNames NamesOfEnum(JudgedReading);

// What a row makes of one text.
struct JudgedText {
  TextScores scores;  // with a comparison where the tokens are the reference's
  Estimate bits_per_byte;
  bool has_own_tokens = false;  // another tokenizer: nothing but bits per byte can be compared
  bool is_on_front = false;     // no other file is nearer to the reference (mean KL) and as small
  PairedWindows windows;
};

// What a row makes of one task.
struct JudgedTask {
  std::string name;
  TaskScore score;  // the first one
  EvaluationKey key;
  std::vector<ItemOutcome> items;
};

struct JudgedRow {
  std::string label;  // the file's name, shortened where that leaves no doubt
  std::string path;   // as the user named it
  JudgedReading reading = JudgedReading::kAll;
  std::string weights;  // format, variant and how they are read
  std::string hash;
  uint64_t file_bytes = 0, parameters = 0;
  double bits_per_weight = 0;
  std::vector<JudgedText> texts;
  std::vector<JudgedTask> tasks;
  std::optional<SpeedResult> speed;
  std::vector<std::string> notes;
  std::string error;  // why there is nothing; the other rows are not affected

  bool is_file() const {
    return reading != JudgedReading::kReference && reading != JudgedReading::kNoiseFloor;
  }
};

// Two rows under one measure.
struct JudgedPair {
  size_t first = 0, second = 0;  // among the rows
  std::string measure;           // "log ppl", "KL" or the task's metric
  std::string of;                // the text or the task
  PairTest test;
  double p_holm = 1;  // over all pairs and measures
};

struct Verdict {
  std::string protocol;
  int protocol_version = 1;
  size_t seqlen = 0, limit = 0;
  std::string reference_note;  // of a reference that is not exact
  // First the reference (not there if it is llama.cpp's file), then its noise floor, then the files
  // in the order in which they were given.
  std::vector<JudgedRow> rows;
  std::vector<JudgedPair> pairs;
  std::string machine;  // processor, instruction set, threads
};

// `reference` is a model, or a file of llama-perplexity --kl-divergence-base, which brings its own
// text (no corpora then). `folder` exists and holds the store (results.db) and, while this runs,
// the reference's states. A file that cannot be read or run becomes a row with its error. Throws
// bad input for a reference that cannot be used and for texts shorter than a window, kFailed for a
// full disk.
Verdict Judge(const ModelSource& reference, const std::vector<ModelSource>& files,
              const std::vector<JudgedCorpus>& corpora, JudgeOptions options,
              const std::filesystem::path& folder, const Context& context);

}  // namespace qualm
