// The tasks that a command line names, and whether their data is there.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "tasks/items.h"

namespace qualm::cli {

struct TaskList {
  std::vector<Task> tasks;
  std::vector<std::string> skipped;  // whose data is not there
};

// `names`: tasks, groups and files, also several separated by commas. All files of all tasks must
// be there, or the tasks are left out with a warning if `skip_missing`. Throws bad input for
// unknown names, and with all missing files at once.
TaskList FindTasks(const std::vector<std::string>& names, const ItemOptions& items,
                   const std::filesystem::path& data_folder, bool skip_missing, Progress& progress);

}  // namespace qualm::cli
