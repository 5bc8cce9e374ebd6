// Two models on the same items: paired differences with their interval, the items on which only one
// is right, and the divergence of the choices. The items come from two runs of this process, or
// from a store that kept those of earlier runs.
#include "evaluate/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "evaluate/request.h"
#include "evaluate/task_run.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The exact binomial test of McNemar's discordant items: the probability that a fair coin deviates
// from n/2 at least as far as k of n heads. Summed in logarithms, because n can be large.
double TwoSidedCoin(size_t k, size_t n) {
  if (n == 0) return 1;
  const size_t few = std::min(k, n - k);
  const double log_n = std::lgamma(static_cast<double>(n) + 1);
  double tail = 0;
  for (size_t i = 0; i <= few; ++i) {
    const double log_choose = log_n - std::lgamma(static_cast<double>(i) + 1) -
                              std::lgamma(static_cast<double>(n - i) + 1);
    tail += std::exp(log_choose - static_cast<double>(n) * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

// NaN unless every item has the log-likelihoods of the same two or more choices in both runs.
Estimate ChoiceKl(std::span<const ItemOutcome> first, std::span<const ItemOutcome> second) {
  std::vector<double> values;
  for (size_t i = 0; i < first.size(); ++i) {
    const std::vector<double>&a = first[i].choices, &b = second[i].choices;
    if (a.size() < 2 || a.size() != b.size()) return {kNone, kNone};
    values.push_back(KlOfChoices(a, b));
  }
  if (values.empty()) return {kNone, kNone};
  return RatioEstimate(values, std::vector<double>(values.size(), 1));
}

// Puts the values of a further filter in place of the first one's. False, and adds the filters that
// there are to `known`, where the evaluation has none of that name.
bool TakeFilter(const ResultStore& store, const StoredEvaluation& evaluation,
                const std::string& filter, std::vector<ItemOutcome>& outcomes,
                std::set<std::string>& known) {
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const std::vector<StoredReading> readings = store.Readings(evaluation.id, i);
    const auto found = std::ranges::find(readings, filter, &StoredReading::filter);
    if (found == readings.end()) {
      for (const StoredReading& reading : readings) known.insert(reading.filter);
      return false;
    }
    outcomes[i].value = std::isnan(found->value) ? 0 : found->value;
    outcomes[i].is_right = outcomes[i].value >= 1;
  }
  return true;
}

// Items as a run would return them, with the log-likelihoods of their choices in order.
std::vector<ItemOutcome> OutcomesOf(const ResultStore& store, const StoredEvaluation& evaluation) {
  std::vector<ItemOutcome> outcomes;
  for (const StoredItem& item : store.Items(evaluation.id)) {
    outcomes.push_back(
        {.value = std::isnan(item.value) ? 0 : item.value, .is_right = item.is_correct});
  }
  for (const auto& [item, log_likelihood] :
       store.LogLikelihoods(evaluation.id, evaluation.key.model, kLikelihoodProtocol)) {
    if (item < outcomes.size()) outcomes[item].choices.push_back(log_likelihood);
  }
  return outcomes;
}

}  // namespace

double KlOfChoices(const std::vector<double>& first, const std::vector<double>& second) {
  // The logarithm of the sum of exponentials, without overflow.
  const auto log_total = [](const std::vector<double>& values) {
    const double largest = std::ranges::max(values);
    double sum = 0;
    for (double value : values) sum += std::exp(value - largest);
    return largest + std::log(sum);
  };

  // Σ p·(log p - log q); terms whose p underflows to 0 are 0.
  const double a = log_total(first), b = log_total(second);
  double kl = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    const double log_p = first[i] - a;
    if (std::exp(log_p) > 0) kl += std::exp(log_p) * (log_p - (second[i] - b));
  }
  return std::max(kl, 0.0);  // rounding can make equal distributions differ downwards
}

PairedComparison ComparePaired(std::span<const ItemOutcome> first,
                               std::span<const ItemOutcome> second) {
  QUALM_CHECK(first.size() == second.size());
  PairedComparison result;
  result.n = first.size();
  result.choice_kl = ChoiceKl(first, second);
  if (result.n == 0) {
    result.first = result.second = kNone;
    result.difference = {kNone, kNone};
    result.low = result.high = kNone;
    return result;
  }

  // Sums over the items of both; the difference is paired.
  std::vector<double> differences, ones(result.n, 1);
  for (size_t i = 0; i < result.n; ++i) {
    result.first += first[i].value / static_cast<double>(result.n);
    result.second += second[i].value / static_cast<double>(result.n);
    differences.push_back(second[i].value - first[i].value);
    result.right_to_wrong += first[i].is_right && !second[i].is_right ? 1 : 0;
    result.wrong_to_right += !first[i].is_right && second[i].is_right ? 1 : 0;
  }

  // The normal interval of the mean difference, and the test on items that changed sides.
  result.difference = RatioEstimate(differences, ones);
  result.low = result.difference.value - 1.96 * result.difference.standard_error;
  result.high = result.difference.value + 1.96 * result.difference.standard_error;
  result.mcnemar_p =
      TwoSidedCoin(result.right_to_wrong, result.right_to_wrong + result.wrong_to_right);
  return result;
}

// Evaluations are comparable if everything but the model is equal, including the prompts.
std::optional<TaskComparison> CompareOutcomes(const TaskOutcome& first, const TaskOutcome& second) {
  EvaluationKey wanted = first.key;
  wanted.model = second.key.model;
  if (second.key != wanted) return std::nullopt;
  return TaskComparison{second.key, ComparePaired(first.items, second.items), {}};
}

// All pairs of finished evaluations in the store that differ only in the model.
std::vector<TaskComparison> CompareModels(const ResultStore& store, const std::string& first,
                                          const std::string& second, const std::string& filter) {
  std::vector<TaskComparison> comparisons;
  std::set<std::string> known;  // filters of tasks that do not have the wanted one
  size_t left_out = 0;
  const std::vector<StoredEvaluation> candidates = store.Evaluations(second);
  for (const StoredEvaluation& evaluation : store.Evaluations(first)) {
    EvaluationKey wanted = evaluation.key;
    wanted.model = second;
    const auto other = std::ranges::find_if(candidates, [&](const StoredEvaluation& candidate) {
      return candidate.is_finished && candidate.key == wanted;
    });
    if (!evaluation.is_finished || other == candidates.end()) continue;

    std::vector<ItemOutcome> a = OutcomesOf(store, evaluation), b = OutcomesOf(store, *other);
    if (a.size() != b.size()) {
      ThrowBadInput("compare", StrCat(a.size(), " items of ", wanted.task, " for both models"),
                    StrCat(b.size()), "the prompts are the same: the store is damaged");
    }

    if (!filter.empty() && !(TakeFilter(store, evaluation, filter, a, known) &&
                             TakeFilter(store, *other, filter, b, known))) {
      ++left_out;
      continue;
    }
    comparisons.push_back({wanted, ComparePaired(a, b), filter});
  }

  if (comparisons.empty() && left_out > 0) {
    ThrowBadInput("--filter", "a further filter of a task that both models have answered",
                  StrCat("'", filter, "'"),
                  known.empty()
                      ? "each task has one filter"
                      : StrCat("there are ", Join(std::vector(known.begin(), known.end()), ", "),
                               "; without --filter the first ones are compared"));
  }
  return comparisons;
}

void RequireComparisons(std::span<const TaskComparison> comparisons) {
  if (!comparisons.empty()) return;
  ThrowBadInput("compare", "a task that both models have finished with the same prompts", "none",
                "run qualm eval with the same --task, --shots and --limit for both");
}

}  // namespace qualm
