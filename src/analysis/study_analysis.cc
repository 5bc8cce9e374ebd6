// Computes every number of the report from the study's table: cells against the float model,
// calibration sets against the test's own kind, generalization gaps, false alarms between twins,
// guidance, and proxies. Definitions: docs/studies/statistics.md.
#include "analysis/study_analysis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "analysis/guidance.h"
#include "base/context.h"
#include "base/rng.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kAlpha = 0.05;

// Whether a calibration set of this relation is text of another kind.
bool IsTextRelation(Relation relation) {
  return relation != Relation::kControl && relation != Relation::kNone;
}

// Fills p_holm of every element from the p of its inference.
template <typename T>
void AdjustAll(std::vector<T>& all, Inference T::*inference) {
  std::vector<double> p;
  for (const T& one : all) p.push_back((one.*inference).p);
  const std::vector<double> adjusted = HolmAdjusted(p);
  for (size_t i = 0; i < all.size(); ++i) all[i].p_holm = adjusted[i];
}

// One run over a study. Run first collects the tables of all comparisons, then infers them in
// parallel, adjusts each family of tests for its size, and adds what depends on the results. The
// collecting steps fill result_ and, for each entry, one table at the same index of compared_,
// gap_tables_ or family_tables_.
class Analyser {
 public:
  Analyser(const StudyTable& table, const Context& context) : table_(table), context_(context) {
    for (const CalibrationSpec& set : table.plan->spec.calibrations) {
      if (!set.again.empty()) twins_.push_back({set.again, set.name});
    }
  }

  StudyAnalysis Run() {
    SummarizeCells();
    for (const auto& [model, recipe] : Conditions()) {
      CompareCalibrations(model, recipe);
      FindGaps(model, recipe);
      AnswerFamilies(model, recipe);
    }

    // The expensive part: a bootstrap for every comparison.
    InferAll(result_.comparisons, &CalibrationComparison::difference, compared_);
    InferAll(result_.gaps, &GeneralizationGap::gap, gap_tables_);
    InferAll(result_.families, &FamilyAnswer::difference, family_tables_);

    // Each kind of question is its own family of tests.
    AdjustAll(result_.comparisons, &CalibrationComparison::difference);
    AdjustAll(result_.gaps, &GeneralizationGap::gap);
    AdjustAll(result_.families, &FamilyAnswer::difference);
    CountFalseAlarms();
    result_.guidance = FindGuidance(table_, context_);
    FindProxies();
    return std::move(result_);
  }

 private:
  bool IsTwin(const std::string& calibration) const {
    return std::ranges::any_of(twins_,
                               [&](const auto& twin) { return twin.second == calibration; });
  }

  // Models and recipes that use a calibration set, in the table's order.
  std::vector<std::pair<std::string, std::string>> Conditions() const {
    std::vector<std::pair<std::string, std::string>> all;
    for (const Cell& cell : table_.cells) {
      const std::pair<std::string, std::string> one = {cell.model, cell.recipe};
      if (cell.calibration != "-" && std::ranges::find(all, one) == all.end()) all.push_back(one);
    }
    return all;
  }

  // The calibrated cells of one model, recipe and test.
  std::vector<const Cell*> CalibratedCells(const std::string& model, const std::string& recipe,
                                           const std::string& test) const {
    std::vector<const Cell*> cells;
    for (const Cell& cell : table_.cells) {
      const bool fits = cell.model == model && cell.recipe == recipe && cell.test == test;
      if (fits && cell.calibration != "-") cells.push_back(&cell);
    }
    return cells;
  }

  // Every quantized cell against the float model.
  void SummarizeCells() {
    std::vector<LossTable> tables;
    for (size_t g = 0; g < table_.cells.size(); ++g) {
      const Cell& cell = table_.cells[g];
      if (cell.recipe == "float") continue;
      CellSummary summary;
      summary.cell = g;

      // The mean score over seeds and its deviation.
      double sum = 0, squares = 0;
      for (double score : cell.scores) sum += score;
      const double n = static_cast<double>(cell.scores.size());
      summary.score = sum / n;
      for (double score : cell.scores) squares += (score - summary.score) * (score - summary.score);
      summary.score_deviation = n > 1 ? std::sqrt(squares / (n - 1)) : kNone;
      result_.cells.push_back(summary);
      tables.push_back(cell.excess);
    }
    InferAll(result_.cells, &CellSummary::excess, tables);
    AdjustAll(result_.cells, &CellSummary::excess);
  }

  // Infers the tables one by one; element i belongs to table i.
  template <typename T>
  void InferAll(std::vector<T>& all, Inference T::*inference,
                const std::vector<LossTable>& tables) {
    context_.pool.ParallelFor(all.size(),
                              [&](size_t i) { all[i].*inference = Infer(tables[i], "study"); });
  }

  // The mean over the calibration sets of the test's own kind, and their names; empty if there is
  // no such set.
  static std::optional<LossTable> IidOf(const std::vector<const Cell*>& cells, std::string& names) {
    std::vector<LossTable> tables;
    names.clear();
    for (const Cell* cell : cells) {
      if (cell->relation != Relation::kIid) continue;
      tables.push_back(cell->excess);
      names += StrCat(names.empty() ? "" : " and ", cell->calibration);
    }

    if (tables.empty()) return std::nullopt;
    return LossTable::Average(tables);
  }

  // The same without twins.
  std::vector<const Cell*> FirstCellsOf(const std::string& model, const std::string& recipe,
                                        const std::string& test) const {
    std::vector<const Cell*> cells = CalibratedCells(model, recipe, test);
    std::erase_if(cells, [&](const Cell* cell) { return IsTwin(cell->calibration); });
    return cells;
  }

  // Each calibration set against the sets of the test's own kind.
  void CompareCalibrations(const std::string& model, const std::string& recipe) {
    for (const TestSpec& test : table_.plan->spec.tests) {
      const std::vector<const Cell*> cells = FirstCellsOf(model, recipe, test.name);
      std::string names;
      const std::optional<LossTable> iid = IidOf(cells, names);
      if (!iid) continue;

      // Every set of another kind is compared with that mean.
      for (const Cell* cell : cells) {
        if (cell->relation == Relation::kIid) continue;
        CalibrationComparison one;
        one.model = model;
        one.recipe = recipe;
        one.test = test.name;
        one.calibration = cell->calibration;
        one.iid = names;
        one.relation = cell->relation;
        result_.comparisons.push_back(one);
        compared_.push_back(cell->excess.Minus(*iid));
      }
    }
  }

  // The mean over the sets of the relations that `counts` accepts, minus the mean over the sets of
  // the test's own kind; empty if either is missing.
  std::optional<LossTable> GapOn(const std::vector<const Cell*>& cells,
                                 const std::function<bool(Relation)>& counts) const {
    std::string names;
    const std::optional<LossTable> iid = IidOf(cells, names);

    std::vector<LossTable> others;
    for (const Cell* cell : cells) {
      if (cell->relation != Relation::kIid && counts(cell->relation)) {
        others.push_back(cell->excess);
      }
    }

    if (!iid || others.empty()) return std::nullopt;
    return LossTable::Average(others).Minus(*iid);
  }

  // One gap for every relation: the differences of all tests side by side.
  void FindGaps(const std::string& model, const std::string& recipe) {
    for (Relation relation : {Relation::kCrossSubject, Relation::kCrossDataset,
                              Relation::kCrossTask, Relation::kCrossLanguage, Relation::kControl}) {
      // Tests that lack either side of the difference do not count.
      std::vector<LossTable> tables;
      for (const TestSpec& test : table_.plan->spec.tests) {
        std::optional<LossTable> one = GapOn(FirstCellsOf(model, recipe, test.name),
                                             [&](Relation other) { return other == relation; });
        if (one) tables.push_back(std::move(*one));
      }
      if (tables.empty()) continue;

      GeneralizationGap gap;
      gap.model = model;
      gap.recipe = recipe;
      gap.relation = relation;
      gap.tests = tables.size();
      result_.gaps.push_back(gap);
      gap_tables_.push_back(LossTable::SideBySide(tables));
    }
  }

  // One answer for every kind of test: is calibrating on that kind better than on other text?
  void AnswerFamilies(const std::string& model, const std::string& recipe) {
    // The kinds of tests, in the plan's order.
    std::vector<std::string> families;
    for (const TestSpec& test : table_.plan->spec.tests) {
      if (std::ranges::find(families, test.about.task) == families.end()) {
        families.push_back(test.about.task);
      }
    }

    // Each kind is judged on its own tests, against all sets of text of other kinds.
    for (const std::string& family : families) {
      std::vector<LossTable> tables;
      for (const TestSpec& test : table_.plan->spec.tests) {
        if (test.about.task != family) continue;
        std::optional<LossTable> one =
            GapOn(FirstCellsOf(model, recipe, test.name), IsTextRelation);
        if (one) tables.push_back(std::move(*one));
      }
      if (tables.empty()) continue;
      FamilyAnswer answer;
      answer.model = model;
      answer.recipe = recipe;
      answer.family = family;
      answer.tests = tables.size();
      result_.families.push_back(answer);
      family_tables_.push_back(LossTable::SideBySide(tables));
    }
  }

  // Splits the seeds of two tables that should not differ into two halves, in every way that
  // keeps the first seed in the first half. Empty for more than 6 seeds a table.
  static std::vector<LossTable> SplitsOf(const LossTable& a, const LossTable& b) {
    const size_t half = std::min(a.seeds(), b.seeds());
    std::vector<LossTable> splits;
    if (half > 6) return splits;  // C(12,6)/2 = 462 splits at most

    // A set bit puts the seed into the first half.
    for (uint32_t mask = 1; mask < (1U << (2 * half)); mask += 2) {
      if (static_cast<size_t>(__builtin_popcount(mask)) != half) continue;
      LossTable first(a.weights()), second(a.weights());
      for (size_t s = 0; s < 2 * half; ++s) {
        std::vector<double> sums(a.clusters());
        for (size_t c = 0; c < sums.size(); ++c) {
          sums[c] = s < half ? a.sum(s, c) : b.sum(s - half, c);
        }
        LossTable& side = (mask >> s) & 1 ? first : second;
        side.AddSeed(sums);
      }
      splits.push_back(first.Minus(second));
    }
    return splits;
  }

  // Twins are the same condition with other samples, so every significant difference between them
  // is a false alarm.
  void CountFalseAlarms() {
    FalseAlarms& alarms = result_.false_alarms;
    std::vector<LossTable> twins, splits;

    // Collect each twin's difference from its original, and all splits of their seeds.
    for (const Cell& cell : table_.cells) {
      for (const auto& [original, twin] : twins_) {
        if (cell.calibration != original) continue;
        const Cell* other = table_.Find(cell.model, cell.recipe, twin, cell.test);
        if (other == nullptr || other->excess.clusters() < 2) continue;
        twins.push_back(cell.excess.Minus(other->excess));
        for (LossTable& split : SplitsOf(cell.excess, other->excess)) {
          splits.push_back(std::move(split));
        }
      }
    }

    // Whether a comparison is significant at 5 %, without adjustment.
    const auto count = [&](const std::vector<LossTable>& tables) {
      std::vector<uint8_t> is_alarm(tables.size(), 0);
      context_.pool.ParallelFor(tables.size(), [&](size_t i) {
        is_alarm[i] = Infer(tables[i], "study").p < kAlpha ? 1 : 0;
      });
      return static_cast<size_t>(std::ranges::count(is_alarm, 1));
    };

    alarms.comparisons = twins.size();
    alarms.alarms = count(twins);
    alarms.interval = ExactShareInterval(alarms.alarms, alarms.comparisons, 0.95);
    alarms.splits = splits.size();
    alarms.split_alarms = count(splits);
  }

  // Asks for every model whether a cheap measure on a text predicts the loss on the tasks.
  void FindProxies() {
    std::vector<std::string> texts, tasks;
    for (const TestSpec& test : table_.plan->spec.tests) {
      std::vector<std::string>& names = test.is_task() ? tasks : texts;
      names.push_back(test.name);
    }

    // Without both kinds of tests there is nothing to compare.
    if (texts.empty() || tasks.empty()) return;

    for (const std::string& model : table_.plan->spec.models) {
      for (const std::string& text : texts) {
        for (bool is_kl : {false, true}) {
          for (const std::string& task : tasks) AddProxy(model, text, is_kl, {task}, task);
          if (tasks.size() > 1) AddProxy(model, text, is_kl, tasks, "");
        }
      }
    }
  }

  // One measure against one task, or against the mean of all tasks if `name` is empty.
  void AddProxy(const std::string& model, const std::string& text, bool is_kl,
                const std::vector<std::string>& tasks, const std::string& name) {
    std::vector<double> x, y;

    // A point is a condition: its measure on the text, and its mean loss on the tasks.
    for (const Cell& cell : table_.cells) {
      const bool counts = cell.model == model && cell.test == text && cell.recipe != "float" &&
                          !IsTwin(cell.calibration);
      if (!counts) continue;
      double sum = 0;
      bool is_whole = true;
      for (const std::string& task : tasks) {
        const Cell* other = table_.Find(model, cell.recipe, cell.calibration, task);
        is_whole &= other != nullptr;
        if (other != nullptr) sum += other->excess.Mean() / static_cast<double>(tasks.size());
      }

      // A condition counts only if all tasks have its result.
      if (!is_whole) continue;
      x.push_back(is_kl ? cell.kl : cell.excess.Mean());
      y.push_back(sum);
    }

    // Rank correlations of fewer than four points mean little.
    if (x.size() < 4) return;
    ProxyAnswer answer;
    answer.model = model;
    answer.measure = StrCat(is_kl ? "KL" : "log ppl", " · ", text);
    answer.test = name;
    answer.points = x.size();
    answer.spearman = Spearman(x, y);

    // A bootstrap over conditions; samples whose ranks are all equal have no correlation.
    std::vector<double> replicates;
    Rng rng(0, StrCat("proxy ", answer.measure, " ", name));
    for (size_t b = 0; b < kReplicates; ++b) {
      std::vector<double> a, c;
      for (size_t i = 0; i < x.size(); ++i) {
        const size_t drawn = static_cast<size_t>(rng.Below(x.size()));
        a.push_back(x[drawn]);
        c.push_back(y[drawn]);
      }
      const double one = Spearman(a, c);
      if (!std::isnan(one)) replicates.push_back(one);
    }

    // The interval holds the middle 95 % of the replicates, if most of them have a correlation.
    answer.low = answer.high = kNone;
    if (replicates.size() > kReplicates / 2) {
      std::ranges::sort(replicates);
      answer.low = replicates[replicates.size() / 40];
      answer.high = replicates[replicates.size() - 1 - replicates.size() / 40];
    }
    result_.proxies.push_back(std::move(answer));
  }

  const StudyTable& table_;
  const Context& context_;
  StudyAnalysis result_;
  std::vector<std::pair<std::string, std::string>> twins_;  // original, again
  std::vector<LossTable> compared_, gap_tables_, family_tables_;
};

// The ranks of the values, from 0; equal values share the mean of their ranks.
std::vector<double> RanksOf(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](size_t a, size_t b) { return values[a] < values[b]; });

  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    // [first, end): a run of equal values.
    size_t end = first;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    for (size_t i = first; i < end; ++i) {
      ranks[order[i]] = (static_cast<double>(first) + static_cast<double>(end) - 1) / 2;
    }
    first = end;
  }
  return ranks;
}

}  // namespace

double Spearman(const std::vector<double>& x, const std::vector<double>& y) {
  if (x.size() < 3) return kNone;
  const std::vector<double> a = RanksOf(x), b = RanksOf(y);
  const double mean = (static_cast<double>(x.size()) - 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNone;
}

StudyAnalysis AnalyseStudy(const StudyTable& table, const Context& context) {
  return Analyser(table, context).Run();
}

}  // namespace qualm
