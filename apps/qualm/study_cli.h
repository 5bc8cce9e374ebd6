// Shared by the commands about studies.
#pragma once

#include <string>
#include <vector>

#include "cli.h"
#include "study/executor.h"
#include "study/graph.h"
#include "study/work_folder.h"

namespace qualm::cli {

struct StudyFlags {
  std::string study, work = "qualm-work", data;
  std::vector<std::string> models;
  bool skip_missing = false;
};

void AddStudyFlags(Arguments& arguments, StudyFlags& flags);
// Only the study's name and the work folder, for commands that need an earlier plan.
void AddPlannedStudyFlags(Arguments& arguments, StudyFlags& flags);

StudyPlan PlanOf(const StudyFlags& flags, double flops, Progress& progress);
// The plan that the last run wrote. Throws bad input if there is none.
StudyPlan PlannedStudy(const StudyFlags& flags, const WorkFolder& work);

// The program's own path and the words that make it run stages.
std::vector<std::string> StageCommand(const Globals& globals);

// Shows the progress of a run: on a terminal a table that is drawn again and again, elsewhere a
// line for each event. Show any number of times, then Finish.
class RunDisplay {
 public:
  explicit RunDisplay(const Globals& globals);
  void Show(const RunView& view);
  void Finish();

 private:
  std::string Table(const RunView& view) const;

  bool is_quiet_, is_terminal_;
  size_t drawn_lines_ = 0;
  double shown_at_ = -1e9;
};

}  // namespace qualm::cli
