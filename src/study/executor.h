// Runs a plan on this machine: groups of stages as child processes, as many at a time as memory
// allows. A child that dies takes nothing else with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "study/graph.h"
#include "study/work_folder.h"

namespace qualm {

enum class StageState : uint8_t { kWaiting, kRunning, kDone, kFoundDone, kFailed, kBlocked };

// The state of a run; shown after every change and about twice a second.
struct RunView {
  struct Job {
    std::string label, detail;
    uint64_t done = 0, total = 0;
    double seconds = 0;
  };
  size_t total = 0, done = 0, found = 0, failed = 0, blocked = 0;
  std::vector<Job> running;
  double elapsed_seconds = 0;
  double left_seconds = 0;  // 0: not known
  std::string event;        // the stage that just ended, one line; empty: none
  bool event_is_failure = false;
};

struct ExecutorOptions {
  size_t jobs = 1;            // processes at once, at most
  int threads = 0;            // of all processes together; 0: one per core
  uint64_t memory_bytes = 0;  // of all processes together; 0: four fifths of what is available
  bool retry_failed = true;
  // The program and its first arguments; PLAN_FILE --threads N KEY... is appended.
  std::vector<std::string> command;
  std::function<void(const RunView& view)> on_change;
};

// How a run ended.
struct RunSummary {
  size_t total = 0, done = 0, found = 0, failed = 0, blocked = 0;
  double seconds = 0;
  std::vector<std::string> failures;  // "label: error"
  bool is_interrupted = false;
};

// Writes the plan to the work folder first. Throws kFailed if another process runs the study on
// this machine. SIGINT and SIGTERM stop the children and end the run.
RunSummary RunLocally(const StudyPlan& plan, const WorkFolder& work,
                      const ExecutorOptions& options);

// The stages of a plan that are ready now (open, with all needs done), in a list for each process.
// At most `most` stages of a group go into one list. `state` is by stage.
std::vector<std::vector<size_t>> ReadyGroups(const StudyPlan& plan,
                                             const std::vector<StageState>& state, size_t most);

}  // namespace qualm
