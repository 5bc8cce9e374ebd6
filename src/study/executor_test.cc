#include "study/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/strings.h"
#include "study/slurm.h"
#include "study/stage_run.h"
#include "support/errors.h"
#include "support/stage_records.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

StageInputs InputsOf(StageKind kind) {
  switch (kind) {
    case StageKind::kCalibrate:
      return CalibrateInputs();
    case StageKind::kQuantize:
      return QuantizeInputs();
    case StageKind::kEvaluate:
      return EvaluateInputs();
    case StageKind::kMeasure:
      return MeasureInputs();
  }
  return {};
}

// Two calibration sets (0, 1), two models of the first (2, 3) and one of the second (4), one
// evaluation of 2 (5), the float model's (6).
StudyPlan SmallPlan() {
  StudyPlan plan;
  const auto add = [&](const std::string& key, StageKind kind, const std::string& group,
                       std::vector<std::string> needs) {
    Stage stage;
    stage.key = key;
    stage.inputs = InputsOf(kind);
    stage.group = group;
    stage.needs = std::move(needs);
    stage.memory_bytes = plan.stages.size() << 20;
    plan.stages.push_back(stage);
  };
  add("c0", StageKind::kCalibrate, "c", {});
  add("c1", StageKind::kCalibrate, "c", {});
  add("q0", StageKind::kQuantize, "q c0", {"c0"});
  add("q1", StageKind::kQuantize, "q c0", {"c0"});
  add("q2", StageKind::kQuantize, "q c1", {"c1"});
  add("e0", StageKind::kEvaluate, "e q0", {"q0"});
  add("ef", StageKind::kEvaluate, "e float", {});
  return plan;
}

TEST(ReadyGroups, AreOpenStagesWhoseNeedsAreDone) {
  const StudyPlan plan = SmallPlan();
  std::vector<StageState> state(plan.stages.size(), StageState::kWaiting);
  EXPECT_THAT(ReadyGroups(plan, state, 8), ElementsAre(ElementsAre(0, 1), ElementsAre(6)));
  EXPECT_THAT(ReadyGroups(plan, state, 1),
              ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(6)));
  state[0] = StageState::kFoundDone;
  state[1] = StageState::kFailed;
  state[6] = StageState::kRunning;
  EXPECT_THAT(ReadyGroups(plan, state, 8), ElementsAre(ElementsAre(2, 3)));
  state[2] = StageState::kDone;
  EXPECT_THAT(ReadyGroups(plan, state, 8), ElementsAre(ElementsAre(3), ElementsAre(5)));
}

TEST(SlurmArrays, HoldStagesThatWaitForTheSame) {
  const StudyPlan plan = SmallPlan();
  const std::vector<SlurmArray> arrays =
      PlanSlurmArrays(plan, std::vector<SlurmState>(7, SlurmState::kOpen));
  ASSERT_EQ(arrays.size(), 5U);
  EXPECT_THAT(arrays[0].stages, ElementsAre(0, 1));
  EXPECT_EQ(arrays[0].memory_bytes, 1U << 20);
  EXPECT_THAT(arrays[1].stages, ElementsAre(6));
  EXPECT_THAT(arrays[2].stages, ElementsAre(2, 3));
  EXPECT_THAT(arrays[2].waits_for, ElementsAre("c0"));
  EXPECT_THAT(arrays[3].waits_for, ElementsAre("c1"));
  EXPECT_THAT(arrays[4].waits_for, ElementsAre("q0"));  // behind what it waits for
}

TEST(SlurmArrays, DoNotWaitForWhatIsDone) {
  const StudyPlan plan = SmallPlan();
  constexpr SlurmState kDone = SlurmState::kDone, kOpen = SlurmState::kOpen;
  const std::vector<SlurmArray> arrays =
      PlanSlurmArrays(plan, {kDone, kDone, kOpen, kDone, kOpen, kOpen, kDone});
  ASSERT_EQ(arrays.size(), 2U);
  EXPECT_THAT(arrays[0].stages, ElementsAre(2, 4));
  EXPECT_TRUE(arrays[0].waits_for.empty());
  EXPECT_THAT(arrays[1].waits_for, ElementsAre("q0"));
}

TEST(SlurmArrays, WaitForWhatIsInTheQueue) {
  const StudyPlan plan = SmallPlan();
  std::vector<SlurmState> state(7, SlurmState::kDone);
  state[2] = SlurmState::kQueued;
  state[5] = SlurmState::kOpen;
  const std::vector<SlurmArray> arrays = PlanSlurmArrays(plan, state);
  ASSERT_EQ(arrays.size(), 1U);
  EXPECT_THAT(arrays[0].stages, ElementsAre(5));
  EXPECT_THAT(arrays[0].waits_for, ElementsAre("q0"));
}

// Runs with a small script in place of `qualm stage`. It writes down its threads and keys, and
// moves the record that a test has prepared for a key to its place; without one it exits with 3.
class LocalRun : public ::testing::Test {
 protected:
  LocalRun() : work_(folder_ / "work") {
    std::filesystem::create_directories(folder_ / "ready");
    Program(StrCat("threads=$4\nshift 4\necho \"$threads:\" \"$@\" >> ", log(), "\nfor key; do mv ",
                   (folder_ / "ready").string(), "/$key.json ", work_.path().string(),
                   "/stages/ || exit 3; done"));
    options_.command = {(folder_ / "program").string()};
    options_.threads = 8;
    options_.memory_bytes = uint64_t{1} << 30;
    plan_.spec.name = "made-up";
  }

  std::string log() const { return (folder_ / "log").string(); }
  // What was started, a line for each process.
  std::vector<std::string> Calls() const {
    std::vector<std::string> lines = std::filesystem::exists(log()) ? Split(ReadFile(log()), '\n')
                                                                    : std::vector<std::string>{""};
    lines.pop_back();
    return lines;
  }
  void Program(const std::string& script) const {
    const std::filesystem::path file =
        folder_.Write("program", StrCat("#!/bin/sh\n", script, "\n"));
    ::chmod(file.c_str(), 0755);
  }

  void AddStage(const std::string& key, std::vector<std::string> needs = {},
                StageKind kind = StageKind::kEvaluate) {
    Stage stage;
    stage.key = key;
    stage.label = StrCat("stage ", key);
    stage.group = key;
    stage.needs = std::move(needs);
    stage.inputs = testing::InputsOf(kind);
    plan_.stages.push_back(stage);
  }
  static StageRecord RecordOf(const std::string& key, const std::string& error) {
    StageRecord record;
    record.key = key;
    record.label = StrCat("stage ", key);
    record.status = error.empty() ? "done" : "failed";
    record.error = error;
    record.inputs = EvaluateInputs{};
    return record;
  }
  // What the program will find for a key.
  void Prepare(const std::string& key, const std::string& error = "") const {
    const WorkFolder other(folder_ / "other");
    other.WriteRecord(RecordOf(key, error));
    std::filesystem::rename(folder_ / "other/stages" / (key + ".json"),
                            folder_ / "ready" / (key + ".json"));
  }

  testing::TemporaryFolder folder_;
  WorkFolder work_;
  StudyPlan plan_;
  ExecutorOptions options_;
};

TEST_F(LocalRun, RunsStagesAfterWhatTheyNeed) {
  AddStage("a");
  AddStage("b", {"a"});
  AddStage("c", {"b"});
  for (const char* key : {"a", "b", "c"}) Prepare(key);
  std::vector<std::string> events;
  options_.on_change = [&](const RunView& view) {
    if (!view.event.empty()) events.push_back(view.event);
    EXPECT_EQ(view.total, 3u);
    EXPECT_FALSE(view.event_is_failure);
  };
  const RunSummary summary = RunLocally(plan_, work_, options_);
  EXPECT_THAT(Calls(), ElementsAre("8: a", "8: b", "8: c"));
  EXPECT_EQ(summary.total, 3u);
  EXPECT_EQ(summary.done, 3u);
  EXPECT_EQ(summary.found + summary.failed + summary.blocked, 0u);
  EXPECT_FALSE(summary.is_interrupted);
  EXPECT_THAT(events, ElementsAre("done    stage a  0.0s", "done    stage b  0.0s",
                                  "done    stage c  0.0s"));
  EXPECT_TRUE(std::filesystem::exists(work_.Plan("made-up")));
}

TEST_F(LocalRun, WhatIsDoneIsNotDoneAgain) {
  AddStage("a");
  AddStage("b", {"a"});
  work_.WriteRecord(RecordOf("a", ""));
  Prepare("b");
  const RunSummary summary = RunLocally(plan_, work_, options_);
  EXPECT_THAT(Calls(), ElementsAre("8: b"));
  EXPECT_EQ(summary.found, 1u);
  EXPECT_EQ(summary.done, 1u);
}

TEST_F(LocalRun, AFailureBlocksWhatNeedsItAndNothingElse) {
  AddStage("a");
  AddStage("b", {"a"});
  AddStage("c", {"b"});
  AddStage("d");
  Prepare("a", "[x] bad");
  Prepare("d");
  size_t failures = 0;
  options_.on_change = [&](const RunView& view) { failures += view.event_is_failure ? 1 : 0; };
  const RunSummary summary = RunLocally(plan_, work_, options_);
  EXPECT_EQ(summary.failed, 1u);
  EXPECT_EQ(summary.blocked, 2u);
  EXPECT_EQ(summary.done, 1u);
  EXPECT_EQ(failures, 1u);
  EXPECT_THAT(summary.failures, ElementsAre("stage a: [x] bad"));
}

TEST_F(LocalRun, AnEarlierFailureIsTriedAgainUnlessTheUserSaysNo) {
  AddStage("a");
  work_.WriteRecord(RecordOf("a", "bad"));
  options_.retry_failed = false;
  EXPECT_EQ(RunLocally(plan_, work_, options_).failed, 1u);
  EXPECT_THAT(Calls(), IsEmpty());
  options_.retry_failed = true;
  Prepare("a");
  EXPECT_EQ(RunLocally(plan_, work_, options_).done, 1u);
}

TEST_F(LocalRun, TheFirstStageOfADeadProcessFailsAndTheOthersRunAgain) {
  for (const char* key : {"a", "b", "c", "d"}) AddStage(key);
  for (Stage& stage : plan_.stages) stage.group = "one";
  for (const char* key : {"b", "c", "d"}) Prepare(key);
  const RunSummary summary = RunLocally(plan_, work_, options_);
  EXPECT_EQ(Calls()[0], "8: a b");  // at most half of what waits goes into one process
  EXPECT_EQ(summary.failed, 1u);
  EXPECT_EQ(summary.done, 3u);
  EXPECT_THAT(
      summary.failures,
      ElementsAre(AllOf(StartsWith("stage a: [process] ended with exit code 3; last line: "),
                        EndsWith(StrCat("; its log: ", work_.Log("a").string())))));
  EXPECT_THAT(work_.ReadRecord("a")->error, StartsWith("[process] ended with exit code 3"));
}

// What a person needs to know is in the table and in the record, not only in the log.
TEST_F(LocalRun, ADeadProcessIsToldWithItsLastErrorLine) {
  AddStage("a");
  Program("echo 'qualm: [x] no luck' >&2\nprintf 'calibrating\\r\\033[Kbye\\n' >&2\nexit 3");
  const std::string error =
      StrCat("[process] ended with exit code 3; last line: qualm: [x] no luck; its log: ",
             work_.Log("a").string());
  EXPECT_THAT(RunLocally(plan_, work_, options_).failures, ElementsAre(StrCat("stage a: ", error)));
  EXPECT_EQ(work_.ReadRecord("a")->error, error);
}

// Without an error among them, the last line is all there is: as a terminal shows it.
TEST_F(LocalRun, ALineForATerminalIsShownAsText) {
  AddStage("a");
  Program("printf 'gone\\r\\033[Kcaf\\351\\n\\n' >&2\nexit 3");
  EXPECT_THAT(RunLocally(plan_, work_, options_).failures,
              ElementsAre(HasSubstr("code 3; last line: [Kcaf\xef\xbf\xbd; its log")));
}

// A run on another machine plans the study anew while this one runs: its stages keep their plan.
TEST_F(LocalRun, StagesReadThePlanThatTheyWereStartedFor) {
  AddStage("a");
  Prepare("a");
  std::string plans;
  options_.on_change = [&](const RunView&) {
    for (const auto& entry : std::filesystem::directory_iterator(work_.path() / "plans")) {
      if (!entry.path().extension().empty()) plans = entry.path().string();
    }
    WriteFileAtomically(work_.Plan("made-up"), "{}");
  };
  EXPECT_EQ(RunLocally(plan_, work_, options_).done, 1u);
  EXPECT_THAT(ReadFile(plans), HasSubstr("stage a"));
}

TEST_F(LocalRun, ARecordTakesAnyBytes) {
  AddStage("a");
  RecordFailure(plan_, plan_.stages[0], work_, "caf\xe9");
  ASSERT_TRUE(work_.ReadRecord("a"));
  EXPECT_EQ(work_.ReadRecord("a")->error, "caf\xef\xbf\xbd");
}

// Only what nobody has told is recorded.
TEST_F(LocalRun, ADeathIsRecordedOnce) {
  AddStage("a");
  const std::filesystem::path log = folder_.Write("log", "sh: qualm: not found\n");
  {
    const std::unique_ptr<StageLock> runs = work_.TryLock("a");
    RecordDeath(plan_, plan_.stages[0], work_, 1, log);
    EXPECT_FALSE(work_.ReadRecord("a"));
  }
  RecordDeath(plan_, plan_.stages[0], work_, 127, log);
  EXPECT_EQ(work_.ReadRecord("a")->error,
            StrCat("[process] ended with exit code 127; last line: sh: qualm: not found; its log: ",
                   log.string()));
  RecordDeath(plan_, plan_.stages[0], work_, 137, log);
  EXPECT_THAT(work_.ReadRecord("a")->error, HasSubstr("127"));
}

TEST_F(LocalRun, AKilledProcessMayHaveRunOutOfMemory) {
  AddStage("a");
  Program("kill -9 $$");
  EXPECT_THAT(RunLocally(plan_, work_, options_).failures,
              ElementsAre(HasSubstr("died of signal 9 (Killed); out of memory?; its log: ")));
}

TEST_F(LocalRun, AStageThatAnotherProcessHoldsIsLookedAtAgain) {
  AddStage("a");
  Prepare("a");
  // The first time it ends well without a record.
  const std::string mark = (folder_ / "mark").string();
  Program(StrCat("[ -e ", mark, " ] || { touch ", mark, "; exit 0; }\nmv ",
                 (folder_ / "ready/a.json").string(), " ", work_.path().string(), "/stages/"));
  const RunSummary summary = RunLocally(plan_, work_, options_);
  EXPECT_EQ(summary.done, 1u);
  EXPECT_THAT(summary.failures, IsEmpty());
}

TEST_F(LocalRun, ThreadsArePartedAmongTheProcessesExceptForMeasurements) {
  AddStage("a");
  AddStage("b", {"a"}, StageKind::kMeasure);
  for (const char* key : {"a", "b"}) Prepare(key);
  options_.jobs = 4;
  RunLocally(plan_, work_, options_);
  EXPECT_THAT(Calls(), ElementsAre("2: a", "8: b"));
}

TEST_F(LocalRun, MeasurementsAndLargeStagesRunAlone) {
  AddStage("a");
  AddStage("b");
  AddStage("c", {}, StageKind::kMeasure);
  for (const char* key : {"a", "b", "c"}) Prepare(key);
  plan_.stages[0].memory_bytes = plan_.stages[1].memory_bytes = uint64_t{600} << 20;  // of 1024
  options_.jobs = 3;
  // A folder that two processes cannot both make.
  const std::string here = (folder_ / "here").string(), ready = (folder_ / "ready").string();
  Program(StrCat("mkdir ", here, " || exit 3\nshift 4\nsleep 0.05\nrmdir ", here, "\nmv ", ready,
                 "/$1.json ", work_.path().string(), "/stages/"));
  EXPECT_EQ(RunLocally(plan_, work_, options_).done, 3u);
}

TEST_F(LocalRun, AProgramThatIsNotThereIsNamed) {
  AddStage("a");
  options_.command = {"/no such program"};
  EXPECT_EQ(ErrorOf([&] { RunLocally(plan_, work_, options_); }, ErrorKind::kFailed),
            "[/no such program] cannot start: No such file or directory");
}

TEST_F(LocalRun, AStudyRunsOnceOnAMachine) {
  AddStage("a");
  const std::unique_ptr<StageLock> other = work_.BeLocalRunner("made-up");
  EXPECT_THAT(ErrorOf([&] { RunLocally(plan_, work_, options_); }, ErrorKind::kFailed),
              HasSubstr("another process runs this study here"));
}

TEST_F(LocalRun, ASignalStopsTheProcessesAndEndsTheRun) {
  AddStage("a");
  AddStage("b", {"a"});
  Program("exec sleep 60");
  options_.on_change = [&](const RunView& view) {
    if (!view.running.empty()) std::raise(SIGTERM);
  };
  const RunSummary summary = RunLocally(plan_, work_, options_);
  EXPECT_TRUE(summary.is_interrupted);
  EXPECT_EQ(summary.done + summary.failed, 0u);
  EXPECT_FALSE(work_.ReadRecord("a"));  // it will run again
}

}  // namespace
}  // namespace qualm
