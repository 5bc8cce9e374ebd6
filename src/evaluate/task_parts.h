// Selections of items that get their own scores: all of them, a category, a subset.
#pragma once

#include <string>
#include <vector>

#include "evaluate/task_run.h"

namespace qualm {

struct TaskPart {
  std::string name;  // empty: all items; "category humanities", "subset anatomy"
  std::vector<size_t> items;
};

// All, then the categories, then the subsets; those without items are left out.
std::vector<TaskPart> PartsOf(const Task& task, const TaskItems& items);

// Without a value; no baseline.
TaskScore NewScore(const Task& task, const TaskItems& items, const TaskPart& part,
                   const std::string& metric);

}  // namespace qualm
