// The difference is a ratio of sums over windows, so its error is that of statistics.h.
#include "judge/pairs.h"

#include <cmath>
#include <limits>

#include "analysis/distributions.h"
#include "base/error.h"

namespace qualm {
namespace {

// Of a difference without any spread, 0 is certain and everything else impossible.
double StudentP(const Estimate& difference, size_t n) {
  if (n < 2 || std::isnan(difference.value)) return std::numeric_limits<double>::quiet_NaN();
  if (difference.standard_error == 0) return difference.value == 0 ? 1 : 0;
  return StudentTwoSided(difference.value / difference.standard_error, static_cast<double>(n - 1));
}

PairTest TestOf(const std::vector<double>& sums, const std::vector<double>& weights) {
  PairTest test;
  test.n = sums.size();
  test.difference = RatioEstimate(sums, weights);
  test.p = StudentP(test.difference, test.n);
  return test;
}

}  // namespace

PairTest TestLogPerplexity(const PairedWindows& first, const PairedWindows& second) {
  QUALM_CHECK(first.weights == second.weights);
  std::vector<double> differences;
  for (size_t w = 0; w < first.nll.size(); ++w) {
    differences.push_back(first.weights[w] * (second.nll[w] - first.nll[w]));
  }
  return TestOf(differences, first.weights);
}

PairTest TestKl(const PairedWindows& first, const PairedWindows& second) {
  QUALM_CHECK(first.targets == second.targets && first.kl.size() == second.kl.size());
  std::vector<double> differences;
  for (size_t w = 0; w < first.kl.size(); ++w) differences.push_back(second.kl[w] - first.kl[w]);
  return TestOf(differences, first.targets);
}

PairTest TestItems(const PairedComparison& paired, bool is_accuracy) {
  return {.n = paired.n,
          .difference = paired.difference,
          .p = is_accuracy ? paired.mcnemar_p : StudentP(paired.difference, paired.n),
          .right_to_wrong = paired.right_to_wrong,
          .wrong_to_right = paired.wrong_to_right};
}

}  // namespace qualm
