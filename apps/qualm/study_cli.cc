// Flags, plans and the progress table that the commands about studies share.
#include "study_cli.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/strings.h"
#include "data/named_corpora.h"
#include "study/machine.h"

namespace qualm::cli {
namespace {

// The name of a study given by name or by file.
std::string NameOf(const std::string& study) {
  return study.ends_with(".yaml") ? FindStudy(study).name : study;
}

}  // namespace

void AddPlannedStudyFlags(Arguments& arguments, StudyFlags& flags) {
  arguments.Add("STUDY", flags.study, "Name ('qualm list studies') or YAML file").Required();
  arguments
      .Add("--work", flags.work,
           "Folder of what was and will be done; studies share it, and so do machines")
      .ShowDefault();
}

void AddStudyFlags(Arguments& arguments, StudyFlags& flags) {
  AddPlannedStudyFlags(arguments, flags);
  arguments
      .Add("--model", flags.models,
           "FOLDER or NAME=FOLDER of a float model, in place of the study's; may be given several "
           "times")
      .OnePerFlag();
  AddDataFlag(arguments, flags.data);
  arguments.Flag("--skip-missing", flags.skip_missing,
                 "Leave out tests whose data is not available, and say so");
}

// Paths are made absolute, because stages run in other processes.
StudyPlan PlanOf(const StudyFlags& flags, double flops, Progress& progress) {
  PlanOptions options;
  options.models = flags.models;
  options.data_folder = DataFolder(flags.data);

  if (!options.data_folder.empty()) {
    options.data_folder = std::filesystem::absolute(options.data_folder);
  }
  options.skip_missing = flags.skip_missing;
  options.version = QUALM_VERSION;
  options.flops = flops;

  // Relative paths in a study's file are looked for next to it.
  if (flags.study.ends_with(".yaml")) {
    options.study_folder = std::filesystem::path(flags.study).parent_path();
  }
  return MakeStudyPlan(FindStudy(flags.study), options, progress);
}

// For commands that look at a study: its plan as `qualm run` stored it, even if the study's file
// has changed since.
StudyPlan PlannedStudy(const StudyFlags& flags, const WorkFolder& work) {
  const std::filesystem::path file = work.Plan(NameOf(flags.study));
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    ThrowBadInput(flags.study, StrCat("a study that was run in ", work.path().string()), "none",
                  "qualm run plans it");
  }
  return StudyPlanFromJson(ReadJsonFile(file), file.string());
}

// This very program with the same instruction set, so that all stages compute the same bits.
std::vector<std::string> StageCommand(const Globals& globals) {
  std::vector<std::string> command = {std::filesystem::read_symlink("/proc/self/exe").string()};
  if (!globals.isa.empty()) command.insert(command.end(), {"--isa", globals.isa});
  command.emplace_back("stage");
  return command;
}

RunDisplay::RunDisplay(const Globals& globals)
    : is_quiet_(globals.quiet), is_terminal_(isatty(STDERR_FILENO) != 0) {}

// A line of totals, then a line for each running stage.
std::string RunDisplay::Table(const RunView& view) const {
  std::string text = StrCat(view.done, " of ", view.total, " stages done");
  if (view.found > 0) text += StrCat(" (", view.found, " before)");
  if (view.failed > 0) text += StrCat(", ", view.failed, " FAILED");
  if (view.blocked > 0) text += StrCat(", ", view.blocked, " blocked");
  // Times: gone, and left if finished stages allow an estimate.
  text += StrCat("; ", HumanSeconds(view.elapsed_seconds), " gone");
  if (view.left_seconds > 0) text += StrCat(", about ", HumanSeconds(view.left_seconds), " left");
  text += "\n";

  // Lines are cut, because a line that wraps would break the redrawing.
  for (const RunView::Job& job : view.running) {
    std::string line = StrCat("  ", job.label, "  ", HumanSeconds(job.seconds));
    if (job.total > 0) line += StrCat("  ", job.done, "/", job.total, " ", job.detail);
    text += StrCat(line.substr(0, 110), "\n");
  }
  return text;
}

// On a terminal the table replaces the one before; failures stay above it.
void RunDisplay::Show(const RunView& view) {
  if (is_quiet_ && !view.event_is_failure) return;
  if (!is_terminal_) {
    // Elsewhere there is one line for each event.
    if (!view.event.empty()) {
      std::fprintf(stderr, "[%zu/%zu] %s\n", view.done + view.failed, view.total,
                   view.event.c_str());
    }
    return;
  }

  // Not more often than the eye can follow.
  const double now = SteadySeconds();
  if (view.event.empty() && now - shown_at_ < 0.4) return;
  shown_at_ = now;

  // The cursor goes up over the old table, which is erased.
  std::string text;
  if (drawn_lines_ > 0) text = StrCat("\033[", drawn_lines_, "A\033[J");
  if (view.event_is_failure) text += StrCat(view.event, "\n");
  const std::string table = Table(view);
  drawn_lines_ = 0;
  for (char c : table) drawn_lines_ += c == '\n' ? 1 : 0;
  std::fputs((text + table).c_str(), stderr);
}

// The last table stays, and output after it does not overwrite it.
void RunDisplay::Finish() { drawn_lines_ = 0; }

}  // namespace qualm::cli
