// What the commands about studies share.
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
// Only the study's name and the work folder: for what was planned before.
void AddPlannedStudyFlags(Arguments& arguments, StudyFlags& flags);

StudyPlan PlanOf(const StudyFlags& flags, double flops, Progress& progress);
// As it was written by the last run. Throws bad input where there was none.
StudyPlan PlannedStudy(const StudyFlags& flags, const WorkFolder& work);

// The program's own path and what makes it run stages.
std::vector<std::string> StageCommand(const Globals& globals);

// A table that is drawn again and again in a terminal; elsewhere a line for what ended.
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
