#include "evaluate/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/strings.h"
#include "results/store.h"

namespace qualm {
namespace {

// P(at most min(k, n-k) or at least max(k, n-k) heads of n), summed in logarithms.
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

}  // namespace

PairedComparison ComparePaired(std::span<const uint8_t> first, std::span<const uint8_t> second) {
  QUALM_CHECK(first.size() == second.size());
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  PairedComparison result;
  result.n = first.size();
  if (result.n == 0) {
    result.first = result.second = kNone;
    result.difference = {kNone, kNone};
    result.low = result.high = kNone;
    return result;
  }
  size_t first_right = 0, second_right = 0;
  for (size_t i = 0; i < result.n; ++i) {
    first_right += first[i];
    second_right += second[i];
    result.right_to_wrong += first[i] > second[i] ? 1 : 0;
    result.wrong_to_right += first[i] < second[i] ? 1 : 0;
  }
  const auto n = static_cast<double>(result.n);
  result.first = static_cast<double>(first_right) / n;
  result.second = static_cast<double>(second_right) / n;
  const size_t flips = result.right_to_wrong + result.wrong_to_right;
  const double mean = result.second - result.first;
  // Differences are -1, 0 and 1, so the sum of their squares is the number of flips.
  const double variance = (static_cast<double>(flips) - n * mean * mean) / (n - 1);
  result.difference = {mean, result.n == 1 ? kNone : std::sqrt(variance / n)};
  result.low = mean - 1.96 * result.difference.standard_error;
  result.high = mean + 1.96 * result.difference.standard_error;
  result.mcnemar_p = TwoSidedCoin(result.right_to_wrong, flips);
  return result;
}

std::vector<TaskComparison> CompareModels(const ResultStore& store, const std::string& first,
                                          const std::string& second) {
  std::vector<TaskComparison> comparisons;
  const std::vector<StoredEvaluation> others = store.Evaluations(second);
  for (const StoredEvaluation& one : store.Evaluations(first)) {
    EvaluationKey wanted = one.key;
    wanted.model = second;
    const auto other = std::ranges::find_if(others, [&](const StoredEvaluation& candidate) {
      return candidate.is_finished && candidate.key == wanted;
    });
    if (!one.is_finished || other == others.end()) continue;
    std::vector<uint8_t> a, b;
    for (const StoredItem& item : store.Items(one.id)) a.push_back(item.is_correct ? 1 : 0);
    for (const StoredItem& item : store.Items(other->id)) b.push_back(item.is_correct ? 1 : 0);
    if (a.size() != b.size()) {
      ThrowBadInput("compare", StrCat(a.size(), " items of ", one.key.task, " for both models"),
                    StrCat(b.size()), "the prompts are the same: the store is damaged");
    }
    comparisons.push_back({one.key.task, one.key.version, one.key.shots, one.key.fewshot_seed,
                           one.key.limit != 0, ComparePaired(a, b)});
  }
  if (comparisons.empty()) {
    ThrowBadInput("compare", "a task that both models have finished with the same prompts", "none",
                  "run qualm eval with the same --task, --shots and --limit for both");
  }
  return comparisons;
}

}  // namespace qualm
