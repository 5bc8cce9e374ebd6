// Runs a study on a cluster through Slurm's programs: sbatch submits, squeue tells states, scancel
// cancels. Stages of one kind go into an array, which has a list of stage keys and a small script
// that takes its key from that list by the task's number. Dependencies between stages become
// dependencies between tasks.
#include "study/slurm.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "study/stage_death.h"
#include "study/stage_run.h"

extern char** environ;

namespace qualm {
namespace {

constexpr size_t kMostTasks = 1000;  // Slurm's MaxArraySize is 1001 unless it is configured

// Runs a program and returns its output, both streams together. Throws kFailed with the output if
// the program fails.
std::string OutputOf(std::vector<std::string> words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) ThrowFailed(words[0], std::strerror(errno));

  // Both streams go into the pipe; no input.
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, ends[1], 1);
  posix_spawn_file_actions_adddup2(&files, ends[1], 2);

  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int error =
      posix_spawnp(&pid, words[0].c_str(), &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);

  // Reading ends when all writers have closed their ends, so ours must be closed here.
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    ThrowFailed(words[0],
                StrCat("cannot start it: ", std::strerror(error), "; is Slurm installed?"));
  }

  std::string output;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t count = ::read(ends[0], buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    output.append(buffer.data(), static_cast<size_t>(count));
  }
  ::close(ends[0]);

  // The exit code decides whether the output is an answer or a message.
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    ThrowFailed(words[0], StrCat("it failed: ", Trim(output)));
  }
  return output;
}

// For the shell: single quotes, with those inside escaped.
std::string Quoted(const std::string& word) {
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

std::filesystem::path LogOf(const WorkFolder& work, const std::string& task) {
  return work.path() / "logs" / StrCat("slurm-", task, ".log");
}

void Cancel(const std::vector<std::string>& tasks) {
  if (tasks.empty()) return;
  std::vector<std::string> words = {"scancel"};
  words.insert(words.end(), tasks.begin(), tasks.end());
  (void)OutputOf(std::move(words));
}

// Submits the open stages of a plan. Run is called once; tasks_ is written to the work folder after
// every array, so that a crash in between loses none.
class Submitter {
 public:
  Submitter(const StudyPlan& plan, const WorkFolder& work, const SlurmOptions& options)
      : plan_(plan),
        work_(work),
        options_(options),
        alone_(work.BeSubmitter(plan.spec.name)),
        tasks_(SlurmTasks(work, plan.spec.name)) {}

  SlurmSubmission Run() {
    plan_file_ = KeepPlan(plan_, work_);

    // The queue is asked first: a task that has left it by now has written its record.
    const std::map<std::string, std::string> queue = SlurmQueue();
    std::map<std::string, size_t> index;
    std::vector<SlurmState> state;
    std::vector<std::string> outdated;
    for (const Stage& stage : plan_.stages) {
      state.push_back(StateOf(stage, queue));
      const auto needs_one = [&](SlurmState wanted) {
        return std::ranges::any_of(
            stage.needs, [&](const std::string& need) { return state[index.at(need)] == wanted; });
      };
      if (state.back() == SlurmState::kOpen && needs_one(SlurmState::kLeftAlone)) {
        state.back() = SlurmState::kLeftAlone;
      }
      // A task that waits for one that has ended would start before the new one of that stage.
      if (state.back() == SlurmState::kQueued && needs_one(SlurmState::kOpen) &&
          queue.at(tasks_.at(stage.key)) == "PENDING") {
        outdated.push_back(tasks_.at(stage.key));
        tasks_.erase(stage.key);
        state.back() = SlurmState::kOpen;
      }
      index[stage.key] = state.size() - 1;
    }
    Cancel(outdated);

    const auto count = [&](SlurmState wanted) {
      return static_cast<size_t>(std::ranges::count(state, wanted));
    };
    result_.done_before = count(SlurmState::kDone);
    result_.queued_before = count(SlurmState::kQueued);
    result_.left_alone = count(SlurmState::kLeftAlone);

    for (const SlurmArray& array : PlanSlurmArrays(plan_, state)) Submit(array);
    return result_;
  }

 private:
  // A stage is done, in the queue, or open; an open one loses what is left of earlier tries. One
  // that failed, with or without a record, is open again or left alone.
  SlurmState StateOf(const Stage& stage, const std::map<std::string, std::string>& queue) {
    const std::optional<StageRecord> record = work_.ReadRecord(stage.key, false);
    const auto task = tasks_.find(stage.key);
    if (!record && task != tasks_.end() && queue.contains(task->second)) return SlurmState::kQueued;

    std::string error;
    if (record) {
      error = record->error;
    } else if (task != tasks_.end()) {
      error = SlurmDeath(work_, task->second);
    }
    if (task != tasks_.end()) tasks_.erase(task);
    if (record && record->is_done()) return SlurmState::kDone;

    if (!error.empty()) result_.failures.push_back(StrCat(stage.label, ": ", error));
    if (!error.empty() && !options_.retry_failed) {
      if (!record) RecordFailure(plan_, stage, work_, error);
      return SlurmState::kLeftAlone;
    }
    work_.RemoveRecord(stage.key);
    return SlurmState::kOpen;
  }

  // Writes the array's list and script, submits them and stores the task ids.
  void Submit(const SlurmArray& array) {
    // The array's task n runs the key in line n of the list.
    std::string keys;
    for (size_t i : array.stages) keys += StrCat(plan_.stages[i].key, "\n");
    const std::filesystem::path list = work_.WriteOnce("slurm", ".list", keys);
    const std::filesystem::path script = work_.WriteOnce("slurm", ".sh", ScriptOf(list.string()));

    std::vector<std::string> words = {"sbatch", "--parsable"};
    words.push_back(StrCat("--job-name=qualm-", plan_.spec.name, "-", StageKindName(array.kind)));
    words.push_back(StrCat("--array=0-", array.stages.size() - 1,
                           options_.at_once > 0 ? StrCat("%", options_.at_once) : ""));
    words.push_back(StrCat("--cpus-per-task=", options_.cpus));
    words.push_back(StrCat("--mem=", (array.memory_bytes >> 20) + 1, "M"));
    words.push_back(StrCat("--output=", LogOf(work_, "%A_%a").string()));
    // A speed that is measured next to other work is worthless.
    if (array.kind == StageKind::kMeasure) words.emplace_back("--exclusive");

    // "afterany": a stage whose needs failed starts, sees that, and records it.
    std::string dependency;
    for (const std::string& key : array.waits_for) dependency += StrCat(":", tasks_.at(key));
    if (!dependency.empty()) words.push_back(StrCat("--dependency=afterany", dependency));
    words.insert(words.end(), options_.extra.begin(), options_.extra.end());
    words.push_back(script.string());

    // The answer is the job's number.
    std::string id(Trim(OutputOf(std::move(words))));
    id = id.substr(0, id.find(';'));  // "17;cluster"
    if (id.empty() || id.find_first_not_of("0123456789") != std::string::npos) {
      ThrowFailed("sbatch", StrCat("expected a job's number; got '", id, "'"));
    }

    for (size_t task = 0; task < array.stages.size(); ++task) {
      tasks_[plan_.stages[array.stages[task]].key] = StrCat(id, "_", task);
    }

    // Stored at once, for the next arrays and for other processes.
    Json tasks = Json::object();
    for (const auto& [key, value] : tasks_) tasks[key] = value;
    WriteJsonFile(work_.Slurm(plan_.spec.name), tasks);
    ++result_.arrays;
    result_.submitted += array.stages.size();
  }

  std::string ScriptOf(const std::string& list) const {
    std::string command;
    for (const std::string& word : options_.command) command += StrCat(Quoted(word), " ");
    command += Quoted(plan_file_.string());
    const std::string log = StrCat(Quoted(LogOf(work_, "").parent_path().string()),
                                   "/slurm-\"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\".log");

    // A process that is killed cannot record that. A task that is ended from outside does not
    // either: Slurm writes into its log why.
    return StrCat("#!/bin/sh\n# One stage of study ", plan_.spec.name, " for each task.\n",
                  "key=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" ", Quoted(list), ")\n",
                  "trap 'exit 143' TERM\n", command,
                  " --threads \"${SLURM_CPUS_PER_TASK:-1}\" \"$key\"\n", "code=$?\n",
                  "[ \"$code\" -eq 0 ] || ", command, " --ended \"$code\" --log ", log,
                  " \"$key\"\n", "exit \"$code\"\n");
  }

  const StudyPlan& plan_;
  const WorkFolder& work_;
  const SlurmOptions& options_;
  const std::unique_ptr<StageLock> alone_;
  std::map<std::string, std::string> tasks_;
  std::filesystem::path plan_file_;
  SlurmSubmission result_;
};

}  // namespace

// Groups open stages into as few arrays as their kinds and needs allow.
std::vector<SlurmArray> PlanSlurmArrays(const StudyPlan& plan,
                                        const std::vector<SlurmState>& state) {
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < plan.stages.size(); ++i) index[plan.stages[i].key] = i;
  // The distance of a stage from those that need nothing; arrays are submitted in this order.
  std::vector<size_t> depth(plan.stages.size(), 0);
  std::map<std::string, size_t> last;  // by shape: the array that still takes stages
  std::vector<std::pair<size_t, SlurmArray>> arrays;
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const Stage& stage = plan.stages[i];

    // Its depth, and the needs that are not done yet.
    std::vector<std::string> waits_for;
    for (const std::string& need : stage.needs) {
      depth[i] = std::max(depth[i], depth[index.at(need)] + 1);
      if (state[index.at(need)] != SlurmState::kDone) waits_for.push_back(need);
    }
    if (state[i] != SlurmState::kOpen) continue;

    // Stages of the same kind, depth and needs can share an array.
    std::ranges::sort(waits_for);
    const std::string shape =
        StrCat(static_cast<int>(stage.kind()), " ", depth[i], " ", Join(waits_for, " "));
    const auto found = last.find(shape);
    if (found == last.end() || arrays[found->second].second.stages.size() == kMostTasks) {
      last[shape] = arrays.size();
      arrays.push_back({depth[i], {stage.kind(), {}, waits_for, 0}});
    }

    SlurmArray& array = arrays[last[shape]].second;
    array.stages.push_back(i);
    array.memory_bytes = std::max(array.memory_bytes, stage.memory_bytes);
  }

  // By depth: an array is submitted after those that it waits for, when their ids are known.
  std::ranges::stable_sort(arrays, {}, [](const auto& one) { return one.first; });
  std::vector<SlurmArray> ordered;
  for (auto& one : arrays) ordered.push_back(std::move(one.second));
  return ordered;
}

SlurmSubmission SubmitToSlurm(const StudyPlan& plan, const WorkFolder& work,
                              const SlurmOptions& options) {
  return Submitter(plan, work, options).Run();
}

// What earlier submissions stored: the Slurm task of each stage's key.
std::map<std::string, std::string> SlurmTasks(const WorkFolder& work, const std::string& study) {
  // Nothing was submitted: no file.
  const std::filesystem::path file = work.Slurm(study);
  std::map<std::string, std::string> tasks;
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return tasks;

  const Json json = ReadJsonFile(file);
  for (const auto& [key, id] : json.items()) {
    const bool is_id = id.is_string() &&
                       id.get<std::string>().find_first_not_of("0123456789_") == std::string::npos;
    if (!is_id) ThrowBadInput(file.string(), "ids of tasks, '17_3'", id.dump());
    tasks[key] = id;
  }
  return tasks;
}

// States by task id, of all tasks that Slurm still knows. A line is an id and a state.
std::map<std::string, std::string> SlurmQueue() {
  std::map<std::string, std::string> queue;
  for (const std::string& line :
       Split(OutputOf({"squeue", "--array", "-h", "-o", "%i %T"}), '\n')) {
    const size_t space = line.find(' ');
    if (space != std::string::npos) queue[line.substr(0, space)] = Trim(line.substr(space));
  }
  return queue;
}

// A task that a person cancelled has not failed; what Slurm ends for a reason ("DUE TO TIME LIMIT")
// is.
std::string SlurmDeath(const WorkFolder& work, const std::string& task) {
  const std::filesystem::path log = LogOf(work, task);
  std::error_code ignored;
  if (!std::filesystem::exists(log, ignored)) return "";

  const std::string line = LastErrorLine(log);
  const bool is_cancelled =
      line.find(" CANCELLED ") != std::string::npos && line.find(" DUE TO ") == std::string::npos;
  if (is_cancelled) return "";
  return StrCat("[slurm] task ", task, " ended without a result",
                line.empty() ? "" : StrCat("; last line: ", line), "; its log: ", log.string());
}

// Returns how many tasks were cancelled.
size_t CancelSlurm(const WorkFolder& work, const std::string& study) {
  // Only tasks that are still in the queue can be cancelled.
  const std::map<std::string, std::string> queue = SlurmQueue();
  std::vector<std::string> tasks;
  for (const auto& [key, id] : SlurmTasks(work, study)) {
    if (queue.contains(id)) tasks.push_back(id);
  }
  Cancel(tasks);
  return tasks.size();
}

}  // namespace qualm
