// Two models on the same items (PROTOCOLS, section 6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluate/statistics.h"

namespace qualm {

class ResultStore;

// What one model made of an item.
struct ItemOutcome {
  double value = 0;       // by the task's first metric
  bool is_right = false;  // of accuracies the same
  // Log-likelihoods of the choices; empty where the task has none.
  std::vector<double> choices;
};

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
  std::string task;
  int version = 1;
  uint64_t shots = 0, fewshot_seed = 0;
  uint64_t limit = 0;  // rows; 0: all
  PairedComparison paired;
};

// Every finished evaluation that both models have with the same prompts. Throws bad input where
// there is none.
std::vector<TaskComparison> CompareModels(const ResultStore& store, const std::string& first,
                                          const std::string& second);

}  // namespace qualm
