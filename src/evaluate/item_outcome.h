// What one model made of one item of a task, by the task's first metric.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qualm {

// What one more filter of a generation task made of an item.
struct FilteredOutcome {
  std::string filter, prediction;
  double value = 0;
};

struct ItemOutcome {
  double value = 0;       // of the first metric; 0 where the metric has none for this item
  bool is_right = false;  // of accuracies the same as the value
  // Log-likelihoods of the choices; empty where the task has none.
  std::vector<double> choices = {};
  bool is_near_tie = false;
  int64_t gold = -1, picked = -1;             // choices; -1: none
  std::string prediction = {};                // of a generation task: what its first filter read
  std::vector<FilteredOutcome> further = {};  // of the task's other filters, in their order
};

}  // namespace qualm
