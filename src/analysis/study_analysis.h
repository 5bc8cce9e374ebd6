// The statements of a study: every number of the report, with its interval and test. Definitions:
// docs/studies/statistics.md.
#pragma once

#include <string>
#include <vector>

#include "analysis/distributions.h"
#include "analysis/study_table.h"

namespace qualm {

struct Context;

// A cell against the float model on the same items.
struct CellSummary {
  size_t cell = 0;                        // index in StudyTable::cells
  Inference excess;                       // loss minus the float model's
  double p_holm = 1;                      // over all cells of the study
  double score = 0, score_deviation = 0;  // of the main metric over seeds; NaN for one seed
};

// A calibration set against the sets of the test's own kind (IID): same model, recipe and test.
struct CalibrationComparison {
  std::string model, recipe, test, calibration, iid;
  Relation relation = Relation::kNone;
  Inference difference;  // loss(calibration) - loss(iid)
  double p_holm = 1;     // over all such comparisons of the study
};

// The generalization gap of a recipe: the mean over tests of the excess loss when calibrated on
// sets of a relation, minus the excess loss when calibrated on the test's own kind.
struct GeneralizationGap {
  std::string model, recipe;
  Relation relation = Relation::kNone;
  size_t tests = 0;
  Inference gap;
  double p_holm = 1;
};

// "Is IID calibration best?" for the tests of one kind, against all sets of text of other kinds.
struct FamilyAnswer {
  std::string model, recipe, family;
  size_t tests = 0;
  Inference difference;  // mean loss of the other sets - loss of IID; positive: IID is better
  double p_holm = 1;
};

// The same condition twice: how often our own test sees a difference although there is none.
struct FalseAlarms {
  size_t comparisons = 0, alarms = 0;  // p < 0.05, unadjusted; a set against its twin
  ShareInterval interval;              // of alarms / comparisons, as if they were independent
  // In addition, all ways to split the seeds of both into two halves; these depend on each other.
  size_t splits = 0, split_alarms = 0;
};

// One recipe with one calibration set, as the advice sees it.
struct Candidate {
  std::string recipe, calibration;
  double bits = 0, tokens_per_second = 0;  // NaN: not measured
  Inference loss;                          // mean excess loss over all tests
  double probability_best = 0;
  double p_worse = 1;  // against the best candidate: paired, adjusted by Holm over the candidates;
                       // 1 for the best itself
  bool is_worse = false;
};

// The advice for one model under one budget.
struct Guidance {
  std::string model;
  Budget budget;
  std::string unit;                // "nats", "share", "float model's standard deviations"
  size_t tests = 0, left_out = 0;  // candidates over the budget, or with cells that are not done
  // Tests without a unit, in a study of several kinds: all of the float model's losses on them are
  // equal.
  std::vector<std::string> tests_left_out;
  std::vector<Candidate> candidates;  // best first
  bool is_decided = false;            // the first is significantly better than all other candidates
};

// Rank correlation of a cheap measure on a text with the loss on a task, over conditions.
struct ProxyAnswer {
  std::string model, measure, test;  // measure: "KL on stories"
  size_t points = 0;
  double spearman = 0, low = 0, high = 0;  // 95 %, bootstrap over conditions
};

// Everything that the report says.
struct StudyAnalysis {
  std::vector<CellSummary> cells;  // one for each of the table's cells except "float"
  std::vector<CalibrationComparison> comparisons;
  std::vector<GeneralizationGap> gaps;
  std::vector<FamilyAnswer> families;
  FalseAlarms false_alarms;
  std::vector<Guidance> guidance;
  std::vector<ProxyAnswer> proxies;
};

// Deterministic; the pool only shares the work.
StudyAnalysis AnalyseStudy(const StudyTable& table, const Context& context);

// Spearman's rank correlation, ties by mean ranks; NaN for fewer than three points or constant
// values.
double Spearman(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace qualm
