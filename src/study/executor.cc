// The local executor: starts `qualm stage` for groups of stages that are ready, reads their records
// from the work folder, and decides after each end what can run next. A stage's result is what its
// record says; the exit code only matters if there is no record.
#include "study/executor.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "study/machine.h"
#include "study/stage_death.h"
#include "study/stage_run.h"

extern char** environ;

namespace qualm {
namespace {

volatile std::sig_atomic_t stop_signal = 0;
void OnSignal(int signal) { stop_signal = signal; }

// While it lives, SIGINT and SIGTERM only set stop_signal, so that the loop can stop the children
// in order.
class SignalGuard {
 public:
  SignalGuard() {
    stop_signal = 0;
    struct sigaction action {};
    action.sa_handler = OnSignal;
    sigaction(SIGINT, &action, &old_int_);
    sigaction(SIGTERM, &action, &old_term_);
  }
  ~SignalGuard() {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
  }
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

 private:
  struct sigaction old_int_ {
  }, old_term_{};
};

// As a shell counts: 128 and the number of the signal.
int ShellCode(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// A running process and the stages it was given.
struct Job {
  pid_t pid = -1;
  std::vector<size_t> stages;  // indexes
  uint64_t memory_bytes = 0;
  double started = 0;
  bool is_exclusive = false;
};

// One run of a plan. Run is called once; its loop blocks what cannot run any more, starts what
// fits, and waits for something to end. State is kept by stage, in the order of the plan.
class LocalRun {
 public:
  LocalRun(const StudyPlan& plan, const WorkFolder& work, const ExecutorOptions& options)
      : plan_(plan), work_(work), options_(options), state_(plan.stages.size()) {
    threads_ = options.threads > 0 ? options.threads
                                   : static_cast<int>(std::thread::hardware_concurrency());
    memory_ = options.memory_bytes > 0 ? options.memory_bytes : AvailableMemoryBytes() / 5 * 4;
  }

  RunSummary Run() {
    const std::unique_ptr<StageLock> runner = work_.BeLocalRunner(plan_.spec.name);
    // The children read the plan from this file.
    plan_file_ = KeepPlan(plan_, work_);

    started_ = SteadySeconds();
    for (size_t i = 0; i < state_.size(); ++i) {
      index_[plan_.stages[i].key] = i;
      state_[i] = FirstState(plan_.stages[i]);
    }

    // From here on a signal ends the loop.
    const SignalGuard signals;
    Show("", false);
    while (stop_signal == 0) {
      BlockDependents();
      StartJobs();
      if (jobs_.empty()) break;
      WaitForJobs();
    }

    const bool is_interrupted = stop_signal != 0;
    if (is_interrupted) StopJobs();
    return Summary(is_interrupted);
  }

 private:
  // What an earlier run has left of this stage.
  StageState FirstState(const Stage& stage) const {
    const std::optional<StageRecord> record = work_.ReadRecord(stage.key, false);
    if (!record) return StageState::kWaiting;
    if (record->is_done()) return StageState::kFoundDone;
    if (!options_.retry_failed) return StageState::kFailed;
    work_.RemoveRecord(stage.key);
    return StageState::kWaiting;
  }

  // A stage that needs a failed one will never run. Stages come after their needs in the plan, so
  // one pass is enough.
  void BlockDependents() {
    for (size_t i = 0; i < state_.size(); ++i) {
      if (state_[i] != StageState::kWaiting) continue;
      for (const std::string& need : plan_.stages[i].needs) {
        const StageState input = state_[index_.at(need)];
        if (input == StageState::kFailed || input == StageState::kBlocked) {
          state_[i] = StageState::kBlocked;
        }
      }
    }
  }

  // Starts the groups of ready stages that fit next to the running ones.
  void StartJobs() {
    const size_t waiting = static_cast<size_t>(std::ranges::count(state_, StageState::kWaiting));
    // Large groups load a model once; small ones keep all processes busy.
    const size_t most = std::max<size_t>(1, std::min<size_t>(64, waiting / (2 * options_.jobs)));

    for (const std::vector<size_t>& group : ReadyGroups(plan_, state_, most)) {
      Job job;
      job.stages = group;
      for (size_t i : group) {
        job.memory_bytes = std::max(job.memory_bytes, plan_.stages[i].memory_bytes);
      }

      // Speed is measured on an idle machine or not at all.
      job.is_exclusive = plan_.stages[group[0]].kind() == StageKind::kMeasure;
      if (!Fits(job)) continue;
      Start(std::move(job));
    }
  }

  // Memory and number of processes; an exclusive job runs alone.
  bool Fits(const Job& job) const {
    if (jobs_.empty()) return true;  // a job that is too large for the bound runs alone
    uint64_t used = 0;
    for (const Job& other : jobs_) {
      used += other.memory_bytes;
      if (other.is_exclusive) return false;
    }
    return !job.is_exclusive && jobs_.size() < options_.jobs && used + job.memory_bytes <= memory_;
  }

  void Start(Job job) {
    // The command line: program, plan, threads, keys.
    const int threads =
        job.is_exclusive ? threads_ : std::max<int>(1, threads_ / static_cast<int>(options_.jobs));
    std::vector<std::string> words = options_.command;
    words.push_back(plan_file_.string());
    words.insert(words.end(), {"--die-with-parent", "--threads", StrCat(threads)});
    for (size_t i : job.stages) words.push_back(plan_.stages[i].key);

    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    // Output of all stages of the job goes to the log of its first one.
    const std::string log = work_.Log(plan_.stages[job.stages[0]].key).string();
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);

    const int error =
        posix_spawn(&job.pid, words[0].c_str(), &files, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);

    if (error != 0) ThrowFailed(words[0], StrCat("cannot start: ", std::strerror(error)));
    job.started = SteadySeconds();
    for (size_t i : job.stages) state_[i] = StageState::kRunning;
    jobs_.push_back(std::move(job));
  }

  // Returns when a job has ended, or after about 200 ms to show progress.
  void WaitForJobs() {
    for (int round = 0; round < 10 && stop_signal == 0; ++round) {
      CollectEnded();
      for (size_t j = 0; j < jobs_.size(); ++j) {
        // One job at a time, without blocking.
        int status = 0;
        if (waitpid(jobs_[j].pid, &status, WNOHANG) != jobs_[j].pid) continue;
        const Job job = jobs_[j];
        jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(j));
        Finish(job, status);
        return;  // something may be ready now
      }

      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    Show("", false);
  }

  // Takes records of stages that have ended while their job still runs.
  void CollectEnded() {
    for (const Job& job : jobs_) {
      for (size_t i : job.stages) {
        if (state_[i] == StageState::kRunning) TakeRecord(i);
      }
    }
  }

  void TakeRecord(size_t i) {
    // The record decides; measured times correct the estimates of what is left.
    const Stage& stage = plan_.stages[i];
    const std::optional<StageRecord> record = work_.ReadRecord(stage.key, false);
    if (!record) return;

    state_[i] = record->is_done() ? StageState::kDone : StageState::kFailed;
    if (record->is_done()) {
      measured_[stage.kind()].first += record->seconds;
      measured_[stage.kind()].second += stage.seconds;
      Show(StrCat("done    ", stage.label, "  ", HumanSeconds(record->seconds)), false);
    } else {
      Fail(i, record->error);
    }
  }

  void Fail(size_t i, const std::string& error) {
    state_[i] = StageState::kFailed;
    failures_.push_back(StrCat(plan_.stages[i].label, ": ", error));
    Show(StrCat("FAILED  ", failures_.back()), true);
  }

  // Deals with the stages that a process left without a record: the first is the one it died of,
  // the rest wait again.
  void Finish(const Job& job, int status) {
    // The exit code is also 1 if a stage failed and was recorded.
    bool has_ended_itself = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    for (size_t i : job.stages) {
      if (state_[i] == StageState::kRunning) TakeRecord(i);
      has_ended_itself |= WIFEXITED(status) && state_[i] == StageState::kFailed;
    }

    bool is_first = true;
    for (size_t i : job.stages) {
      if (state_[i] != StageState::kRunning) continue;
      const Stage& stage = plan_.stages[i];
      if (has_ended_itself) {
        // Another process holds this stage's lock: look again later.
        state_[i] = StageState::kWaiting;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        continue;
      }

      state_[i] = StageState::kWaiting;
      if (!is_first) continue;
      is_first = false;

      // The stage that it died of gets a record, so that it does not run again and again.
      std::error_code ignored;
      std::filesystem::remove(work_.Running(stage.key), ignored);
      const std::string error =
          DeathMessage(ShellCode(status), work_.Log(plan_.stages[job.stages[0]].key));
      RecordFailure(plan_, stage, work_, error);
      Fail(i, error);
    }
  }

  void StopJobs() {
    // All children are told first, so that they stop at the same time.
    for (const Job& job : jobs_) kill(job.pid, SIGTERM);
    for (const Job& job : jobs_) {
      int status = 0;
      while (waitpid(job.pid, &status, 0) < 0 && errno == EINTR) {
      }
    }
    jobs_.clear();
  }

  size_t Count(StageState state) const {
    return static_cast<size_t>(std::ranges::count(state_, state));
  }

  // The sum of the open stages' estimates, corrected by how far off the estimates of finished ones
  // were.
  double LeftSeconds() const {
    double left = 0;
    for (size_t i = 0; i < state_.size(); ++i) {
      if (state_[i] != StageState::kWaiting && state_[i] != StageState::kRunning) continue;
      const auto found = measured_.find(plan_.stages[i].kind());
      const double ratio = found == measured_.end() || found->second.second <= 0
                               ? 1
                               : found->second.first / found->second.second;
      left += plan_.stages[i].seconds * ratio;
    }
    return left / static_cast<double>(std::max<size_t>(1, options_.jobs));
  }

  void Show(const std::string& event, bool is_failure) {
    if (!options_.on_change) return;

    // Totals, then what each running job is doing.
    RunView view;
    view.total = state_.size();
    view.found = Count(StageState::kFoundDone);
    view.done = Count(StageState::kDone) + view.found;
    view.failed = Count(StageState::kFailed);
    view.blocked = Count(StageState::kBlocked);
    view.elapsed_seconds = SteadySeconds() - started_;
    view.left_seconds = LeftSeconds();
    view.event = event;
    view.event_is_failure = is_failure;

    for (const Job& job : jobs_) {
      // The first stage of the job that still runs.
      const auto at = std::ranges::find_if(
          job.stages, [&](size_t i) { return state_[i] == StageState::kRunning; });
      if (at == job.stages.end()) continue;

      RunView::Job shown;
      shown.label = plan_.stages[*at].label;
      shown.seconds = SteadySeconds() - job.started;
      if (const auto running = work_.ReadRunning(plan_.stages[*at].key)) {
        shown.detail = StrCat(running->stage, running->detail.empty() ? "" : ": ", running->detail);
        shown.done = running->done;
        shown.total = running->total;
      }
      view.running.push_back(std::move(shown));
    }

    options_.on_change(view);
  }

  RunSummary Summary(bool is_interrupted) const {
    RunSummary summary;
    summary.total = state_.size();
    summary.found = Count(StageState::kFoundDone);
    summary.done = Count(StageState::kDone);
    summary.failed = Count(StageState::kFailed);
    summary.blocked = Count(StageState::kBlocked);
    summary.seconds = SteadySeconds() - started_;
    summary.failures = failures_;
    summary.is_interrupted = is_interrupted;
    return summary;
  }

 private:
  const StudyPlan& plan_;
  const WorkFolder& work_;
  const ExecutorOptions& options_;
  std::vector<StageState> state_;        // by stage
  std::map<std::string, size_t> index_;  // of stages, by key
  std::vector<Job> jobs_;
  std::filesystem::path plan_file_;
  int threads_ = 1;
  uint64_t memory_ = 0;
  double started_ = 0;
  std::vector<std::string> failures_;
  std::map<StageKind, std::pair<double, double>>
      measured_;  // measured seconds, estimates of the same stages
};

}  // namespace

std::vector<std::vector<size_t>> ReadyGroups(const StudyPlan& plan,
                                             const std::vector<StageState>& state, size_t most) {
  // Stages of a group share a process, which loads their model once.
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < plan.stages.size(); ++i) index[plan.stages[i].key] = i;
  std::vector<std::vector<size_t>> groups;
  std::map<std::string, size_t> open;  // group: which of `groups` still takes stages
  // Ready: waiting, and everything it needs is done.
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const Stage& stage = plan.stages[i];
    const bool is_ready =
        state[i] == StageState::kWaiting && std::ranges::all_of(stage.needs, [&](const auto& need) {
          const StageState input = state[index.at(need)];
          return input == StageState::kDone || input == StageState::kFoundDone;
        });
    if (!is_ready) continue;

    const auto found = open.find(stage.group);
    if (found != open.end() && groups[found->second].size() < most) {
      groups[found->second].push_back(i);
      continue;
    }

    // A new list for the group, which takes further stages from here on.
    open[stage.group] = groups.size();
    groups.push_back({i});
  }
  return groups;
}

RunSummary RunLocally(const StudyPlan& plan, const WorkFolder& work,
                      const ExecutorOptions& options) {
  return LocalRun(plan, work, options).Run();
}

}  // namespace qualm
