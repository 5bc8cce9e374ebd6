// What one model made of one item of a task, by the task's first metric.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qualm {

struct ItemOutcome {
  double value = 0;       // of the first metric; 0 where the metric has none for this item
  bool is_right = false;  // of accuracies the same as the value
  // Log-likelihoods of the choices; empty where the task has none.
  std::vector<double> choices = {};
  bool is_near_tie = false;
  int64_t gold = -1, picked = -1;  // choices; -1: none
  std::string prediction = {};     // of a generation task: what was taken from its first text
};

}  // namespace qualm
