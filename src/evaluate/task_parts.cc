// The parts of a task in the order in which they are shown (all items, categories, subsets), and
// scores with the fields that do not depend on the answers.
#include "evaluate/task_parts.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"

namespace qualm {

std::vector<TaskPart> PartsOf(const Task& task, const TaskItems& items) {
  // One pass is enough: rows of a subset follow one another.
  std::vector<TaskPart> parts(1);  // all
  std::vector<TaskPart> subsets;
  for (size_t i = 0; i < items.items.size(); ++i) {
    parts[0].items.push_back(i);
    const std::string& subset = items.items[i].subset;
    if (subset.empty()) continue;
    if (subsets.empty() || subsets.back().name != subset) subsets.push_back({subset, {}});
    subsets.back().items.push_back(i);
  }

  // Categories without any row of this run are left out.
  for (const auto& [name, members] : task.categories) {
    TaskPart category{StrCat("category ", name), {}};
    for (const TaskPart& subset : subsets) {
      if (std::ranges::find(members, subset.name) == members.end()) continue;
      category.items.insert(category.items.end(), subset.items.begin(), subset.items.end());
    }
    if (!category.items.empty()) parts.push_back(std::move(category));
  }

  for (TaskPart& subset : subsets) {
    parts.push_back({StrCat("subset ", subset.name), std::move(subset.items)});
  }
  return parts;
}

TaskScore NewScore(const Task& task, const TaskItems& items, const TaskPart& part,
                   const std::string& metric) {
  TaskScore score;
  score.task = task.name + task.variant;
  score.version = task.version;
  score.shots = items.shots;
  score.part = part.name;
  score.metric = metric;
  score.n = part.items.size();
  score.baseline = std::numeric_limits<double>::quiet_NaN();
  score.is_partial = items.is_partial;
  return score;
}

}  // namespace qualm
