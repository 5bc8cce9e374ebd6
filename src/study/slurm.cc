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

// Submits the open stages of a plan. Run is called once; tasks_ is written to the work folder after
// every array, so that a crash in between loses none.
class Submitter {
 public:
  Submitter(const StudyPlan& plan, const WorkFolder& work, const SlurmOptions& options)
      : plan_(plan), work_(work), options_(options), tasks_(SlurmTasks(work, plan.spec.name)) {}

  SlurmSubmission Run() {
    WriteJsonFile(work_.Plan(plan_.spec.name), ToJson(plan_));

    // Each stage is done, in the queue, or open; an open one loses what is left of earlier tries.
    const std::map<std::string, std::string> queue = SlurmQueue();
    std::vector<SlurmState> state(plan_.stages.size(), SlurmState::kDone);
    for (size_t i = 0; i < plan_.stages.size(); ++i) {
      const std::string& key = plan_.stages[i].key;
      if (work_.IsDone(key)) {
        ++result_.done_before;
        tasks_.erase(key);
      } else if (tasks_.contains(key) && queue.contains(tasks_[key])) {
        state[i] = SlurmState::kQueued;
        ++result_.queued_before;
      } else {
        state[i] = SlurmState::kOpen;
        tasks_.erase(key);
        work_.RemoveRecord(key);
      }
    }

    for (const SlurmArray& array : PlanSlurmArrays(plan_, state)) Submit(array);
    return result_;
  }

 private:
  // Writes the array's list and script, submits them and stores the task ids.
  void Submit(const SlurmArray& array) {
    const std::string first = plan_.stages[array.stages[0]].key;
    const std::filesystem::path base = work_.path() / "slurm" / first;

    // The array's task n runs the key in line n of the list.
    std::string keys;
    for (size_t i : array.stages) keys += StrCat(plan_.stages[i].key, "\n");
    WriteFileAtomically(StrCat(base.string(), ".list"), keys);
    WriteFileAtomically(StrCat(base.string(), ".sh"), ScriptOf(StrCat(base.string(), ".list")));

    std::vector<std::string> words = {"sbatch", "--parsable"};
    words.push_back(StrCat("--job-name=qualm-", plan_.spec.name, "-", StageKindName(array.kind)));
    words.push_back(StrCat("--array=0-", array.stages.size() - 1,
                           options_.at_once > 0 ? StrCat("%", options_.at_once) : ""));
    words.push_back(StrCat("--cpus-per-task=", options_.cpus));
    words.push_back(StrCat("--mem=", (array.memory_bytes >> 20) + 1, "M"));
    words.push_back(StrCat("--output=", work_.path().string(), "/logs/slurm-%A_%a.log"));
    // A speed that is measured next to other work is worthless.
    if (array.kind == StageKind::kMeasure) words.emplace_back("--exclusive");

    // "afterany": a stage whose needs failed starts, sees that, and records it.
    std::string dependency;
    for (const std::string& key : array.waits_for) dependency += StrCat(":", tasks_.at(key));
    if (!dependency.empty()) words.push_back(StrCat("--dependency=afterany", dependency));
    words.insert(words.end(), options_.extra.begin(), options_.extra.end());
    words.push_back(StrCat(base.string(), ".sh"));

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
    // The script finds its key by the number of its task.
    std::string command;
    for (const std::string& word : options_.command) command += StrCat(Quoted(word), " ");
    return StrCat("#!/bin/sh\n# One stage of study ", plan_.spec.name, " for each task.\n",
                  "key=$(sed -n \"$((SLURM_ARRAY_TASK_ID + 1))p\" ", Quoted(list), ")\n", "exec ",
                  command, Quoted(work_.Plan(plan_.spec.name).string()),
                  " --threads \"${SLURM_CPUS_PER_TASK:-1}\" \"$key\"\n");
  }

  const StudyPlan& plan_;
  const WorkFolder& work_;
  const SlurmOptions& options_;
  std::map<std::string, std::string> tasks_;
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

// Returns how many tasks were cancelled.
size_t CancelSlurm(const WorkFolder& work, const std::string& study) {
  // Only tasks that are still in the queue can be cancelled.
  const std::map<std::string, std::string> queue = SlurmQueue();
  std::vector<std::string> words = {"scancel"};
  for (const auto& [key, id] : SlurmTasks(work, study)) {
    if (queue.contains(id)) words.push_back(id);
  }

  if (words.size() > 1) (void)OutputOf(words);
  return words.size() - 1;
}

}  // namespace qualm
