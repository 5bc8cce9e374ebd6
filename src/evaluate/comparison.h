// Two models on the same items (PROTOCOLS, section 6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evaluate/item_outcome.h"
#include "evaluate/statistics.h"
#include "results/store.h"

namespace qualm {

struct TaskOutcome;

// KL(first ‖ second) in nats between the distributions over the choices of one item that their
// log-likelihoods make; of infinite ones those that both models exclude do not count. Requires:
// equally many, at least one.
double KlOfChoices(const std::vector<double>& first, const std::vector<double>& second);

struct PairedComparison {
  size_t n = 0;
  double first = 0, second = 0;  // mean values; of accuracies the shares of right answers
  Estimate difference;           // second - first, over items; NaN error for fewer than two
  double low = 0, high = 0;      // its 95 % interval: ± 1.96 standard errors
  size_t right_to_wrong = 0, wrong_to_right = 0;
  double mcnemar_p = 1;  // exact, two-sided: of the discordant items as coin flips
  // Mean over items of KL(first ‖ second) in nats, between the distributions over the choices that
  // the log-likelihoods make (softmax); NaN where there are no choices.
  Estimate choice_kl;
};

// By item. Requires: equal sizes.
PairedComparison ComparePaired(std::span<const ItemOutcome> first,
                               std::span<const ItemOutcome> second);

struct TaskComparison {
  EvaluationKey key;  // of the second model's evaluation; the first's differs in the model only
  PairedComparison paired;
  std::string filter = {};  // whose values are compared; empty: the task's first one
};

// What two models made of a task. Nothing where they were asked in different ways or with
// different prompts.
std::optional<TaskComparison> CompareOutcomes(const TaskOutcome& first, const TaskOutcome& second);

// Every finished evaluation that both models have in the store with the same prompts. `filter`
// names a further filter of generation tasks, whose values are compared in place of the first
// one's (empty); tasks without it are left out. Throws bad input with the names that there are if
// no task has it.
std::vector<TaskComparison> CompareModels(const ResultStore& store, const std::string& first,
                                          const std::string& second,
                                          const std::string& filter = {});

// Throws bad input where there is no comparison, with what to do.
void RequireComparisons(std::span<const TaskComparison> comparisons);

}  // namespace qualm
