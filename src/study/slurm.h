// Runs a plan by Slurm over a shared work folder: one task of a job array for every stage; an array
// has stages of one kind that wait for the same stages.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "study/graph.h"
#include "study/work_folder.h"

namespace qualm {

struct SlurmOptions {
  std::vector<std::string> command;  // the program and its first arguments, as in ExecutorOptions
  size_t cpus = 1;                   // of each task
  size_t at_once = 0;                // tasks of one array at the same time; 0: no bound
  std::vector<std::string> extra;    // further sbatch options: "--partition=long"
  bool retry_failed = true;          // else what failed before, and what needs it, is left alone
};

// Stages that are submitted together.
struct SlurmArray {
  StageKind kind = StageKind::kCalibrate;
  std::vector<size_t> stages;          // indexes in the plan, in the order of the array's tasks
  std::vector<std::string> waits_for;  // keys of stages that are not done
  uint64_t memory_bytes = 0;           // the most of any stage
};

// What has to be done for a stage; nothing for one that failed and is to be left alone, or needs
// such a one.
enum class SlurmState : uint8_t { kDone, kQueued, kOpen, kLeftAlone };

// Arrays of the open stages, needs before the stages that need them. Stages that are done are not
// waited for, queued ones are.
std::vector<SlurmArray> PlanSlurmArrays(const StudyPlan& plan,
                                        const std::vector<SlurmState>& state);

// What a submission did, in stages and arrays.
struct SlurmSubmission {
  size_t submitted = 0, arrays = 0, done_before = 0, queued_before = 0, left_alone = 0;
  std::vector<std::string> failures;  // of earlier runs: "label: error"
};

// Submits every stage that is neither done nor in the queue, and again those that wait in the queue
// for a task that has ended without a result; failures of earlier runs, also of
// tasks that left the queue without a record, are tried again or recorded and left alone. Task ids
// are written to WORK/slurm/STUDY.json as soon as sbatch returns them. What the tasks will read is
// written once, under the hash of its content: it stays while they wait, whatever is submitted
// next. Throws kFailed, with Slurm's message, if Slurm cannot be asked, and while another process
// submits.
SlurmSubmission SubmitToSlurm(const StudyPlan& plan, const WorkFolder& work,
                              const SlurmOptions& options);

// Task ids ("17_3") by stage, of all submissions of the study; empty if there were none.
std::map<std::string, std::string> SlurmTasks(const WorkFolder& work, const std::string& study);
// The queue's state of those tasks by id: "PENDING", "RUNNING", ...; tasks that have ended are
// absent.
std::map<std::string, std::string> SlurmQueue();
// What is known of a task that left the queue without a record; empty where nothing is: it never
// started, or a person cancelled it.
std::string SlurmDeath(const WorkFolder& work, const std::string& task);
// Cancels the tasks of the study that are in the queue; returns how many.
size_t CancelSlurm(const WorkFolder& work, const std::string& study);

}  // namespace qualm
