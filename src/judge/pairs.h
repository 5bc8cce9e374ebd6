// Paired tests of two models on the same windows of a text or the same items of a task.
#pragma once

#include <cstddef>
#include <vector>

#include "evaluate/comparison.h"
#include "evaluate/statistics.h"

namespace qualm {

// A model's sums over the windows of a text; windows are the units of all errors.
struct PairedWindows {
  std::vector<double> weights;  // of the protocol
  std::vector<double> nll;      // mean over the window's targets, nats
  std::vector<double> targets;
  std::vector<double> kl = {};  // sum over the window's targets; empty: there is none
};

// second - first.
struct PairTest {
  size_t n = 0;  // windows or items
  Estimate difference;
  double p = 1;                                   // two-sided; NaN: one window has no error
  size_t right_to_wrong = 0, wrong_to_right = 0;  // of tasks
};

// Of log perplexity: Student's t with n - 1 degrees of freedom on the paired difference. Requires:
// the same windows.
PairTest TestLogPerplexity(const PairedWindows& first, const PairedWindows& second);
// Of the mean KL to the reference, likewise. Requires: both have it.
PairTest TestKl(const PairedWindows& first, const PairedWindows& second);
// McNemar's exact test where items are right or wrong, else Student's t on the paired difference.
PairTest TestItems(const PairedComparison& paired, bool is_accuracy);

}  // namespace qualm
