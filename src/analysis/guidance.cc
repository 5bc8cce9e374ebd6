// Recommends a recipe and a calibration set for each model and budget: study table in, ranked
// candidates out. Candidates are compared on all tests together by the paired, resampled losses of
// loss_table.h. Definitions: docs/studies/statistics.md.
#include "analysis/guidance.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/context.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kAlpha = 0.05;

// The standard deviation of the float model's cluster means. It is the unit in which losses of
// different kinds are comparable.
double SpreadOf(const LossTable& loss) {
  double mean = loss.Mean(), sum = 0;
  for (size_t c = 0; c < loss.clusters(); ++c) {
    const double difference = loss.sum(0, c) / loss.weights()[c] - mean;
    sum += difference * difference;
  }
  return loss.clusters() > 1 ? std::sqrt(sum / static_cast<double>(loss.clusters() - 1)) : kNone;
}

// The table with every loss multiplied by `factor`.
LossTable Scaled(const LossTable& table, double factor) {
  LossTable result(table.weights());
  for (size_t s = 0; s < table.seeds(); ++s) {
    std::vector<double> sums;
    for (size_t c = 0; c < table.clusters(); ++c) sums.push_back(factor * table.sum(s, c));
    result.AddSeed(sums);
  }
  return result;
}

// Gives the advice for one model. The constructor chooses the tests and the unit in which their
// losses are added; Advise may then be called for each budget. It collects the candidates that fit,
// infers their losses (Rank), and counts how often each is the best in resampled studies
// (CountBest).
class Adviser {
 public:
  Adviser(const StudyTable& table, const std::string& model) : table_(table), model_(model) {
    for (const TestSpec& test : table.plan->spec.tests) {
      const Cell* reference = table.Find(model, "float", "-", test.name);
      if (reference != nullptr) references_.push_back(reference);
    }

    // Shares and nats cannot be added, so mixed tests are measured in standard deviations.
    const auto is_share = [](const Cell* cell) { return cell->is_share; };
    const bool all_shares = std::ranges::all_of(references_, is_share);
    const bool is_mixed = !all_shares && std::ranges::any_of(references_, is_share);

    // Nats of texts and of choices are the same unit but differ in size.
    const auto is_text = [](const Cell* cell) { return cell->is_text; };
    const bool has_both =
        std::ranges::any_of(references_, is_text) && !std::ranges::all_of(references_, is_text);

    const bool is_scaled = is_mixed || has_both;
    unit_ = all_shares ? "share" : "nats";
    if (is_scaled) {
      unit_ = "float model's standard deviations";
      std::erase_if(references_, [&](const Cell* cell) {
        if (SpreadOf(cell->loss) > 0) return false;
        tests_left_out_.push_back(cell->test);
        return true;
      });
    }

    for (const Cell* cell : references_) {
      factors_.push_back(is_scaled ? 1 / SpreadOf(cell->loss) : 1);
    }
  }

  Guidance Advise(const Budget& budget, const Context& context) const {
    Guidance guidance;
    guidance.model = model_;
    guidance.budget = budget;
    guidance.unit = unit_;
    guidance.tests = references_.size();
    guidance.tests_left_out = tests_left_out_;

    // Collect the candidates and their losses, which keep the same order.
    std::vector<LossTable> tables;
    for (const auto& [recipe, calibration] : Conditions()) {
      // A condition is left out if one of its cells is missing or it exceeds the budget.
      Candidate candidate;
      candidate.recipe = recipe;
      candidate.calibration = calibration;
      std::optional<LossTable> table = TableOf(candidate);
      if (!table || !Fits(candidate, budget)) {
        ++guidance.left_out;
        continue;
      }
      guidance.candidates.push_back(std::move(candidate));
      tables.push_back(std::move(*table));
    }
    Rank(guidance, tables, context);
    return guidance;
  }

 private:
  // The recipe and calibration set of every artefact, without twins, which repeat a condition.
  std::vector<std::pair<std::string, std::string>> Conditions() const {
    std::vector<std::pair<std::string, std::string>> all;
    for (const Cell& cell : table_.cells) {
      if (cell.model != model_ || cell.recipe == "float" || IsTwin(cell.calibration)) continue;
      const std::pair<std::string, std::string> one = {cell.recipe, cell.calibration};
      if (std::ranges::find(all, one) == all.end()) all.push_back(one);
    }
    return all;
  }

  bool IsTwin(const std::string& calibration) const {
    return std::ranges::any_of(table_.plan->spec.calibrations, [&](const CalibrationSpec& set) {
      return set.name == calibration && !set.again.empty();
    });
  }

  // The excess losses of all tests side by side; empty if the study lacks the result of one test.
  // Fills the candidate's bits and speed on the way.
  std::optional<LossTable> TableOf(Candidate& candidate) const {
    // The tests' losses are put side by side in the order of references_.
    std::vector<LossTable> tables;
    for (size_t t = 0; t < references_.size(); ++t) {
      const Cell* cell =
          table_.Find(model_, candidate.recipe, candidate.calibration, references_[t]->test);
      if (cell == nullptr) return std::nullopt;
      tables.push_back(Scaled(cell->excess, factors_[t]));
      candidate.bits = cell->bits;
      candidate.tokens_per_second = cell->decode_tokens_per_s;
    }

    if (tables.empty()) return std::nullopt;
    return LossTable::SideBySide(tables);
  }

  // Whether the candidate keeps to the bounds; 0 means that there is none.
  static bool Fits(const Candidate& candidate, const Budget& budget) {
    const bool is_small = budget.bits_per_weight == 0 || candidate.bits <= budget.bits_per_weight;
    const bool is_fast =
        budget.tokens_per_second == 0 || candidate.tokens_per_second >= budget.tokens_per_second;
    // A value that was not measured is NaN and fits no bound.
    return is_small && is_fast;
  }

  // Infers every candidate's loss, sorts them, and tests each against the best one.
  static void Rank(Guidance& guidance, const std::vector<LossTable>& tables,
                   const Context& context) {
    const size_t n = tables.size();
    if (n == 0) return;

    // The tests' losses of each candidate, one bootstrap per candidate.
    std::vector<Candidate>& candidates = guidance.candidates;
    context.pool.ParallelFor(n, [&](size_t i) { candidates[i].loss = Infer(tables[i], "study"); });
    CountBest(candidates, tables, context);

    std::vector<size_t> order(n);
    for (size_t i = 0; i < n; ++i) order[i] = i;

    // Sort by loss; equal losses keep the study's order.
    std::ranges::stable_sort(order, [&](size_t a, size_t b) {
      return candidates[a].loss.value < candidates[b].loss.value;
    });

    // Paired differences to the best candidate; Holm's adjustment because there are many of them.
    std::vector<double> p(n, kNone);
    context.pool.ParallelFor(n, [&](size_t i) {
      if (i != order[0]) p[i] = Infer(tables[i].Minus(tables[order[0]]), "study").p;
    });
    const std::vector<double> adjusted = HolmAdjusted(p);

    // The advice is decided if every other candidate is significantly worse.
    std::vector<Candidate> ranked;
    guidance.is_decided = n > 1;
    for (size_t i : order) {
      ranked.push_back(candidates[i]);
      Candidate& one = ranked.back();
      one.p_worse = i == order[0] ? 1 : adjusted[i];
      one.is_worse = one.p_worse < kAlpha;
      if (i != order[0] && !one.is_worse) guidance.is_decided = false;
    }
    candidates = std::move(ranked);
  }

  // The share of replicates in which a candidate has the smallest loss. A replicate resamples the
  // same items for all candidates but draws the seeds of each anew. Of equal losses the first
  // counts.
  static void CountBest(std::vector<Candidate>& candidates, const std::vector<LossTable>& tables,
                        const Context& context) {
    std::vector<size_t> best(kReplicates);
    context.pool.ParallelFor(kReplicates, [&](size_t b) {
      // The resampled items are the same for every candidate, so that they are compared on equal
      // terms.
      const std::vector<double> clusters = ClusterDraw(tables[0], "guidance", b);
      double least = std::numeric_limits<double>::infinity();
      for (size_t i = 0; i < tables.size(); ++i) {
        const std::string stream =
            StrCat("seeds ", candidates[i].recipe, " ", candidates[i].calibration);
        const double mean =
            ReplicateMean(tables[i], clusters, SeedDraw(tables[i].seeds(), stream, b));
        if (mean < least) {
          least = mean;
          best[b] = i;
        }
      }
    });

    for (size_t i : best) {
      candidates[i].probability_best += 1 / static_cast<double>(kReplicates);
    }
  }

  const StudyTable& table_;
  std::string model_, unit_;
  std::vector<const Cell*> references_;  // the float model's cells, one for each test
  std::vector<double> factors_;
  std::vector<std::string> tests_left_out_;
};

}  // namespace

std::vector<Guidance> FindGuidance(const StudyTable& table, const Context& context) {
  std::vector<Budget> budgets = {{}};
  for (const Budget& budget : table.plan->spec.budgets) budgets.push_back(budget);

  std::vector<Guidance> all;
  for (const std::string& model : table.plan->spec.models) {
    const Adviser adviser(table, model);
    for (const Budget& budget : budgets) all.push_back(adviser.Advise(budget, context));
  }
  return all;
}

}  // namespace qualm
