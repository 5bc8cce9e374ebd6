// What came of a stage: one struct for each kind states its fields once (io/fields.h). Records are
// written and read through them, and reports and results.db read nothing else.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "efficiency/peaks.h"
#include "evaluate/statistics.h"
#include "io/json.h"
#include "study/stage.h"

namespace qualm {

// A number that a record may not have; it is null in JSON.
inline constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

// A value with its standard error; NaN: there is none.
struct RecordedEstimate {
  double value = kNoNumber, standard_error = kNoNumber;

  RecordedEstimate() = default;
  RecordedEstimate(const Estimate& estimate)
      : value(std::isfinite(estimate.value) ? estimate.value : kNoNumber),
        standard_error(std::isfinite(estimate.standard_error) ? estimate.standard_error
                                                              : kNoNumber) {}
  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("value", self.value, {.optional = true});
    visit("stderr", self.standard_error, {.optional = true});
  }
};

// --- calibrate

struct SubjectRows {
  std::string subject;
  size_t rows = 0, drawn = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("subject", self.subject);
    visit("rows", self.rows);
    visit("drawn", self.drawn);
  }
};

struct CalibrateOutcome {
  std::string hash;  // of the tokens
  std::string corpus, sampler;
  size_t sequences = 0, length = 0, tokens = 0, documents = 0, held_out = 0;
  std::vector<SubjectRows> subjects;  // of sets of rows

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("hash", self.hash);
    visit("corpus", self.corpus);
    visit("sampler", self.sampler);
    visit("sequences", self.sequences);
    visit("length", self.length);
    visit("tokens", self.tokens);
    visit("documents", self.documents);
    visit("held_out", self.held_out);
    visit("subjects", self.subjects);
  }
};

// --- quantize

// What a report shows of a linear layer; the rest is in the artefact's manifest.
struct LayerOutcome {
  std::string name;
  double bits = 0, mse = 0;
  double calibration = kNoNumber, held_out = kNoNumber;  // relative output errors; NaN: none
  bool fell_back = false;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name);
    visit("bits", self.bits);
    visit("mse", self.mse);
    visit("calibration", self.calibration, {.optional = true});
    visit("held_out", self.held_out, {.optional = true});
    visit("fell_back", self.fell_back);
  }
};

struct QuantizeOutcome {
  std::string artefact_hash;
  double bits_per_weight = 0, bits_per_weight_model = 0;
  size_t blocks_resumed = 0;
  std::vector<LayerOutcome> layers;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("artefact_hash", self.artefact_hash);
    visit("bits_per_weight", self.bits_per_weight);
    visit("bits_per_weight_model", self.bits_per_weight_model);
    visit("blocks_resumed", self.blocks_resumed);
    visit("layers", self.layers);
  }
};

// --- evaluate

// How many of a test's 13-grams are in the calibration text of the model.
struct OverlapOutcome {
  uint64_t grams = 0, found = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("grams", self.grams);
    visit("found", self.found);
  }
};

// Against the float model, over the whole vocabulary.
struct DistanceOutcome {
  RecordedEstimate kl, kl_median, kl_p99, same_top1, rms_delta_p;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("kl", self.kl);
    visit("kl_median", self.kl_median);
    visit("kl_p99", self.kl_p99);
    visit("same_top1", self.same_top1);
    visit("rms_delta_p", self.rms_delta_p);
  }
};

// Columns of windows.
struct WindowColumns {
  std::vector<double> loss, weight;
  std::vector<uint64_t> cluster;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("loss", self.loss);
    visit("weight", self.weight);
    visit("cluster", self.cluster);
  }
  void Validate() const;
};

struct TextOutcome {
  std::string protocol;
  int protocol_version = 0;
  size_t seqlen = 0;
  size_t windows = 0, tokens = 0;
  RecordedEstimate ppl;
  WindowColumns items;
  std::optional<DistanceOutcome> distance;
  std::optional<OverlapOutcome> overlap;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit.Shown("kind", [] { return "text"; });
    visit("protocol", self.protocol);
    visit("protocol_version", self.protocol_version);
    visit("seqlen", self.seqlen);
    visit("n", self.windows);
    visit("n_tokens", self.tokens);
    visit("ppl", self.ppl);
    visit("items", self.items);
    visit("distance", self.distance);
    visit("overlap", self.overlap);
  }
};

struct ScoreOutcome {
  std::string metric;
  double value = kNoNumber, standard_error = kNoNumber, baseline = kNoNumber;
  size_t n = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("metric", self.metric);
    visit("value", self.value, {.optional = true});
    visit("stderr", self.standard_error, {.optional = true});
    visit("n", self.n);
    visit("baseline", self.baseline, {.optional = true});
  }
};

// Columns of rows, by the main metric.
struct RowColumns {
  std::vector<double> value;
  std::vector<uint8_t> right, near_tie;
  std::vector<int64_t> picked, gold;  // choices; -1: none
  std::vector<uint64_t> cluster;
  std::vector<std::vector<double>> log_likelihoods;  // of choices; empty where there are none

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("value", self.value);
    visit("right", self.right);
    visit("picked", self.picked);
    visit("near_tie", self.near_tie);
    visit("gold", self.gold);
    visit("cluster", self.cluster);
    visit("log_likelihoods", self.log_likelihoods);
  }
  void Validate() const;
};

// A row for reading. Row, prompt and right answer are kept with the float model's only: they are
// the same for all models.
struct SampleOutcome {
  size_t item = 0;
  std::string answer;
  std::optional<std::string> row = {}, prompt = {}, right = {};

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("item", self.item);
    visit("answer", self.answer);
    visit("row", self.row);
    visit("prompt", self.prompt);
    visit("right", self.right);
  }
};

struct RowsOutcome {
  std::string task;
  int task_version = 0;
  std::string metric;  // the main one
  size_t shots = 0, rows = 0, rows_in_split = 0;
  uint64_t prompts_with_fewer_shots = 0, prompts_truncated = 0;
  std::string note, first_request;
  std::vector<ScoreOutcome> scores;
  RowColumns items;
  std::vector<SampleOutcome> samples;
  std::optional<OverlapOutcome> overlap;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit.Shown("kind", [] { return "task"; });
    visit("task", self.task);
    visit("task_version", self.task_version);
    visit("metric", self.metric);
    visit("shots", self.shots);
    visit("n", self.rows);
    visit("rows_in_split", self.rows_in_split);
    visit("prompts_with_fewer_shots", self.prompts_with_fewer_shots);
    visit("prompts_truncated", self.prompts_truncated);
    visit("note", self.note);
    visit("first_request", self.first_request);
    visit("scores", self.scores);
    visit("items", self.items);
    visit("samples", self.samples);
    visit("overlap", self.overlap);
  }
};

// --- measure

struct SpreadOutcome {
  double median = 0, lowest = 0, highest = 0;
  size_t n = 0;

  SpreadOutcome() = default;
  SpreadOutcome(const Spread& spread)
      : median(spread.median), lowest(spread.lowest), highest(spread.highest), n(spread.n) {}
  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("median", self.median);
    visit("lowest", self.lowest);
    visit("highest", self.highest);
    visit("n", self.n);
  }
};

struct MeasureOutcome {
  size_t prompt = 0, gen = 0;
  SpreadOutcome prefill, decode;           // tokens per second
  std::optional<double> joules_per_token;  // nothing where the machine does not tell
  SpreadOutcome load_seconds;
  uint64_t weight_bytes = 0, steady_memory_bytes = 0, peak_memory_bytes = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("prompt", self.prompt);
    visit("gen", self.gen);
    visit("prefill_tokens_per_s", self.prefill);
    visit("decode_tokens_per_s", self.decode);
    visit("joules_per_token", self.joules_per_token, {.null_when_empty = true});
    visit("load_seconds", self.load_seconds);
    visit("weight_bytes", self.weight_bytes);
    visit("steady_memory_bytes", self.steady_memory_bytes);
    visit("peak_memory_bytes", self.peak_memory_bytes);
  }
};

// --- of any kind

// Nothing: the stage failed, or only the head of its record was read.
using StageOutcome = std::variant<std::monostate, CalibrateOutcome, QuantizeOutcome, TextOutcome,
                                  RowsOutcome, MeasureOutcome>;

Json ToJson(const StageOutcome& outcome);  // null for nothing
// The inputs say which kind of outcome it is. Throws bad input, with the place, for a value that is
// missing or not of its type, an unknown key, and columns of different lengths.
StageOutcome StageOutcomeFromJson(const StageInputs& inputs, const Json& json,
                                  std::string_view place);

}  // namespace qualm
