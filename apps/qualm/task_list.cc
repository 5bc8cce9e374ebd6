// Names become tasks before any model is loaded, so that a mistake is found at once.
#include "task_list.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "data/row_sets.h"

namespace qualm::cli {

TaskList FindTasks(const std::vector<std::string>& names, const ItemOptions& items,
                   const std::filesystem::path& data_folder, bool skip_missing,
                   Progress& progress) {
  TaskList list;
  // A flag may list several names, and a name may be a group of tasks.
  for (const std::string& flag : names) {
    for (const std::string& name : Split(flag, ',')) {
      for (const std::string& task : ExpandTaskName(name)) list.tasks.push_back(FindTask(task));
    }
  }

  // Every missing task is collected, so that one message names all of them.
  std::vector<std::string> problems;
  std::erase_if(list.tasks, [&](const Task& task) {
    const RowSet& set = FindRowSet(task.data_set, task.name);
    const std::string missing = MissingTaskFile(task, items, data_folder);
    if (missing.empty()) return false;
    list.skipped.push_back(task.name);
    problems.push_back(StrCat(task.name, " (", missing, "; it comes from: ", set.source, ")"));
    return skip_missing;
  });
  if (problems.empty()) return list;
  if (!skip_missing) {
    ThrowBadInput("--task", "data of all tasks", StrCat("none for ", Join(problems, ", ")),
                  data_folder.empty() ? "name its folder by --data or QUALM_DATA"
                                      : "--skip-missing leaves these tasks out");
  }

  for (const std::string& problem : problems) progress.Warn(StrCat("skipped ", problem));
  if (list.tasks.empty()) ThrowBadInput("--task", "a task whose data is at hand", "none");
  return list;
}

}  // namespace qualm::cli
