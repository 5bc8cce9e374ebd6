// qualm status and qualm cancel: show how far a study is, wherever it runs, and stop it.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "study/machine.h"
#include "study/slurm.h"
#include "study_cli.h"

namespace qualm::cli {
namespace {

// What files and the queue tell about one stage.
struct StageStatus {
  std::string state;   // done, failed, running, queued, waiting
  std::string detail;  // the error, the progress, what the queue says
};

// The queue, if the study was ever submitted; a query to Slurm takes time and may fail.
std::map<std::string, std::string> QueueOf(const WorkFolder& work, const StudyPlan& plan) {
  if (SlurmTasks(work, plan.spec.name).empty()) return {};
  return SlurmQueue();
}

// A record means that the stage has ended; else its lock tells whether it runs; else the queue.
StageStatus StatusOf(const Stage& stage, const WorkFolder& work,
                     const std::map<std::string, std::string>& tasks,
                     const std::map<std::string, std::string>& queue) {
  if (const auto record = work.ReadRecord(stage.key, false)) {
    return record->is_done() ? StageStatus{"done", ""} : StageStatus{"failed", record->error};
  }

  // A running stage holds its lock; a file without a lock was left by a process that died.
  if (const auto running = work.ReadRunning(stage.key); running && !work.TryLock(stage.key)) {
    return {"running",
            StrCat(running->stage, " ", running->done, "/", running->total, " ", running->detail,
                   " (", running->host, ", since ", running->started_at, ")")};
  }

  // A task that has left the queue without a record was killed or never started.
  const auto task = tasks.find(stage.key);
  if (task != tasks.end()) {
    const auto queued = queue.find(task->second);
    if (queued != queue.end()) return {"queued", StrCat(task->second, " ", queued->second)};
    const std::string death = SlurmDeath(work, task->second);
    if (!death.empty()) return {"failed", death};
    return {"waiting", StrCat("task ", task->second, " ended without a result; run again")};
  }
  return {"waiting", ""};
}

// A table of counts by kind and state, then a line for each stage that has something to say.
int RunStatus(const StudyFlags& flags, const Globals& globals) {
  const WorkFolder work(flags.work);
  const StudyPlan plan = PlannedStudy(flags, work);
  const std::map<std::string, std::string> tasks = SlurmTasks(work, plan.spec.name);
  const std::map<std::string, std::string> queue = QueueOf(work, plan);
  const std::vector<std::string> states = {"done", "running", "queued", "waiting", "failed"};
  std::map<StageKind, std::map<std::string, size_t>> counts;
  std::string lines;
  Json stages = Json::array();
  bool any_failed = false;

  // Stages are counted by kind and state; those that run, failed or have a detail get a line.
  for (const Stage& stage : plan.stages) {
    const StageStatus status = StatusOf(stage, work, tasks, queue);
    ++counts[stage.kind()][status.state];
    any_failed |= status.state == "failed";
    if (status.state == "running" || status.state == "failed" || !status.detail.empty()) {
      lines += StrCat(status.state, "  ", stage.label, ": ", status.detail, "\n");
    }
    stages.push_back({{"key", stage.key},
                      {"label", stage.label},
                      {"state", status.state},
                      {"detail", status.detail}});
  }

  if (globals.json) {
    PrintJson({{"study", plan.spec.name}, {"stages", std::move(stages)}});
    return kOk;
  }

  // States that are not there count 0.
  std::vector<std::vector<std::string>> rows = {{"stage"}};
  rows[0].insert(rows[0].end(), states.begin(), states.end());
  for (const auto& [kind, by_state] : counts) {
    rows.push_back({std::string(StageKindName(kind))});
    for (const std::string& state : states) {
      const auto found = by_state.find(state);
      rows.back().push_back(StrCat(found == by_state.end() ? 0 : found->second));
    }
  }

  Print(StrCat("study ", plan.spec.name, " in ", work.path().string(), "\n",
               FormatTable(rows, {false, true, true, true, true, true}), lines));
  return any_failed ? kFailed : kOk;
}

// Slurm's tasks and a local run may both exist, so both are stopped.
int RunCancel(const StudyFlags& flags) {
  const WorkFolder work(flags.work);
  const StudyPlan plan = PlannedStudy(flags, work);
  size_t stopped = 0;
  if (!SlurmTasks(work, plan.spec.name).empty()) stopped = CancelSlurm(work, plan.spec.name);

  // A local run stops its children when it gets the signal; the next run continues.
  const std::optional<int64_t> runner = work.LocalRunner(plan.spec.name);
  const bool is_stopped = runner && kill(static_cast<pid_t>(*runner), SIGTERM) == 0;

  Print(StrCat(stopped, " tasks of Slurm cancelled; ",
               is_stopped ? "the run on this machine is told to stop"
                          : "no run of this study on this machine",
               "; what is done stays\n"));
  return kOk;
}

}  // namespace

Command AddStatus(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<StudyFlags>();
  AddPlannedStudyFlags(arguments, *flags);
  AddJsonFlag(arguments, globals);
  arguments.Examples("  qualm status s1-standard --work /scratch/qualm");
  return [flags, &globals] { return RunStatus(*flags, globals); };
}

Command AddCancel(Arguments& arguments, Globals&) {
  auto flags = std::make_shared<StudyFlags>();
  AddPlannedStudyFlags(arguments, *flags);
  arguments.Examples("  qualm cancel s1-standard --work /scratch/qualm");
  return [flags] { return RunCancel(*flags); };
}

}  // namespace qualm::cli
