// The results of a study as a reader sees them: a cell for every model, recipe, calibration set
// and test, with the losses of its items under all seeds. It is read from the plan and the records
// of its stages, from nothing else.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/loss_table.h"
#include "study/graph.h"
#include "study/work_folder.h"

namespace qualm {

// One evaluation, as its record stores it.
struct EvaluationData {
  std::string metric;  // "log ppl", "acc", ...
  bool is_text = false;
  bool is_share = false;       // the loss is 1 - a share; otherwise nats
  std::vector<double> loss;    // by item: window NLL; 1 - value or -log p(right) of tasks
  std::vector<double> weight;  // by item
  std::vector<uint64_t> cluster;
  std::vector<double> value;  // of tasks, by the main metric
  std::vector<uint8_t> right, near_tie;
  std::vector<std::vector<double>> choices;  // log-likelihoods; empty where there are none
  double score = 0, score_error = 0;         // the main metric; of texts the perplexity
  double baseline = 0;                       // NaN: none
  double kl = 0, kl_error = 0;  // against the float model; NaN: none (of texts over the vocabulary)
  double same_top1 = 0;         // NaN: none
  uint64_t overlap_grams = 0, overlap_found = 0;
};

// A cell of the study's tables: all seeds of one condition on one test.
struct Cell {
  std::string model, recipe, calibration, test;  // recipe "float": the model itself
  Relation relation = Relation::kNone;
  std::vector<uint64_t> seeds;
  LossTable loss;    // the float model's loss
  LossTable excess;  // loss minus the float model's, by cluster; all 0 for "float"
  std::string metric;
  bool is_text = false;
  bool is_share = false;  // losses are shares; otherwise nats
  size_t items = 0;
  std::vector<double> scores;  // by seed
  double float_score = 0;
  double baseline = 0;
  double kl = 0, kl_error = 0, same_top1 = 0;     // means over seeds; NaN if there are none
  double right_to_wrong = 0, wrong_to_right = 0;  // items, means over seeds
  size_t near_ties = 0;                           // the largest over seeds
  double overlap = 0;  // share of the test's 13-grams; NaN if not measured
  double bits = 0;     // per weight of the quantized layers; NaN for "float"
  double model_bits = 0;
  double decode_tokens_per_s = 0, decode_low = 0, decode_high = 0;  // NaN if not measured
  std::vector<std::string> evaluate_keys, quantize_keys;
};

// The whole table, and what the report says about how it came about.
struct StudyTable {
  const StudyPlan* plan = nullptr;
  std::vector<Cell> cells;              // float first, then in the plan's order
  size_t runs = 0, missing_runs = 0;    // of all cells and seeds
  std::vector<std::string> failures;    // "label: error"
  std::vector<std::string> processors;  // processors that made the results, each once
  double seconds = 0;                   // of all stages together

  const Cell* Find(const std::string& model, const std::string& recipe,
                   const std::string& calibration, const std::string& test) const;
};

// Cells whose stages are not done count as missing, not as errors. Throws bad input for records
// that do not belong to the plan's stages.
StudyTable ReadStudyTable(const StudyPlan& plan, const WorkFolder& work);

// Throws bad input, with the place, for the outcome of a stage that is not an evaluation.
EvaluationData EvaluationOf(const StageOutcome& outcome, TaskLoss loss, std::string_view place);

}  // namespace qualm
