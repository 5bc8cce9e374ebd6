// Runs stages of a plan and records what came of them. Idempotent: a stage that is done, or that
// another process runs, is left alone; one that was killed goes on at its last block, window or
// request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "study/graph.h"
#include "study/work_folder.h"

namespace qualm {

struct Context;

enum class StageEnd : uint8_t { kDone, kFoundDone, kFailed, kHeldByOther };

struct StageRunOptions {
  std::string version;  // of qualm
  // Called after every stage of a group.
  std::function<void(const Stage& stage, StageEnd end, const std::string& error)> on_end;
};

// The stages of one group, in their order; models stay loaded between them. Failures are recorded
// and the rest goes on. Throws only where the work folder itself fails (a full disk).
std::vector<StageEnd> RunStages(const StudyPlan& plan, const std::vector<std::string>& keys,
                                const WorkFolder& work, const StageRunOptions& options,
                                const Context& context);

// Keeps the plan as the study's newest, for people and reports, and once more for the processes
// that run its stages: a file that is never written again, whatever is planned next. Returns the
// latter.
std::filesystem::path KeepPlan(const StudyPlan& plan, const WorkFolder& work);

// A record for a stage that could not say so itself (its process died, its input failed).
void RecordFailure(const StudyPlan& plan, const Stage& stage, const WorkFolder& work,
                   const std::string& error);
// The same for a process that ended with `code` (DeathMessage), unless the stage has a record by
// now or another process runs it.
void RecordDeath(const StudyPlan& plan, const Stage& stage, const WorkFolder& work, int code,
                 const std::filesystem::path& log);

}  // namespace qualm
