// Slurm's programs are small scripts here, which write down how they were called.
#include "study/slurm.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/strings.h"
#include "support/errors.h"
#include "support/stage_records.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

class Slurm : public ::testing::Test {
 protected:
  Slurm() : work_(folder_ / "it's") {
    // Jobs are numbered from 17; the queue is what a file says. sbatch keeps a copy of the script.
    Program("sbatch", StrCat("echo \"$@\" >> ", log(), "\nn=$((16 + $(wc -l < ", log(),
                             ")))\nfor script; do :; done\ncp \"$script\" ",
                             (folder_ / "script.").string(), "$n\necho $n"));
    Program("squeue", StrCat("cat ", (folder_ / "queue").string()));
    Program("scancel", StrCat("echo cancel \"$@\" >> ", log()));
    Queue("");
    const char* path = std::getenv("PATH");
    path_ = path == nullptr ? "" : path;
    setenv("PATH", StrCat((folder_ / "bin").string(), ":", path_).c_str(), 1);

    plan_.spec.name = "made-up";
    plan_.files[""].AddText("made-up", "text");
    Program("qualm", StrCat("echo \"$@\" >> ", (folder_ / "calls").string()));
    options_.command = {(folder_ / "bin/qualm").string(), "stage"};
    options_.cpus = 2;
  }
  ~Slurm() override { setenv("PATH", path_.c_str(), 1); }

  std::string log() const { return (folder_ / "log").string(); }
  std::string Log() const { return std::filesystem::exists(log()) ? ReadFile(log()) : ""; }
  void Queue(std::string_view lines) const { folder_.Write("queue", lines); }
  void Program(const std::string& name, const std::string& script) const {
    std::filesystem::create_directories(folder_ / "bin");
    const std::filesystem::path file =
        folder_.Write(StrCat("bin/", name), StrCat("#!/bin/sh\n", script, "\n"));
    ::chmod(file.c_str(), 0755);
  }

  // What waiting tasks will read, by file.
  std::map<std::string, std::string> Promised() const {
    std::map<std::string, std::string> files;
    for (const char* folder : {"plans", "slurm"}) {
      for (const auto& entry : std::filesystem::directory_iterator(work_.path() / folder)) {
        const std::filesystem::path& file = entry.path();
        const bool is_for_people = file.stem() == "made-up";  // made-up.json, made-up.lock
        if (!is_for_people) files[file.string()] = ReadFile(file);
      }
    }
    return files;
  }
  std::string PlanFile() const {
    const std::filesystem::directory_iterator first(work_.path() / "plans");
    return first->path().string();
  }
  // How the task calls the program, as Slurm starts it: a line for each call.
  std::string Start(int job, int task) const {
    std::filesystem::remove(folder_ / "calls");
    const std::string command =
        StrCat("SLURM_CPUS_PER_TASK=2 SLURM_ARRAY_JOB_ID=", job, " SLURM_ARRAY_TASK_ID=", task,
               " sh ", (folder_ / StrCat("script.", job)).string());
    (void)std::system(command.c_str());
    return ReadFile(folder_ / "calls");
  }

  // Keys have 32 digits; a stage is named by the first one.
  static std::string Key(char name) { return std::string(1, name) + std::string(31, '0'); }
  void AddStage(char name, StageKind kind, const std::string& needs = "") {
    Stage stage;
    stage.key = Key(name);
    stage.label = StrCat("stage ", name);
    for (char need : needs) stage.needs.push_back(Key(need));
    stage.inputs = testing::InputsOf(kind);
    stage.memory_bytes = uint64_t{3} << 20;
    plan_.stages.push_back(stage);
  }
  void Record(char name, const std::string& status) const {
    StageRecord record;
    record.key = Key(name);
    record.status = status;
    record.inputs = EvaluateInputs{};
    work_.WriteRecord(record);
  }

  testing::TemporaryFolder folder_;
  WorkFolder work_;
  std::string path_;
  StudyPlan plan_;
  SlurmOptions options_;
};

TEST_F(Slurm, ArraysAreSubmittedAfterWhatTheyNeed) {
  AddStage('a', StageKind::kCalibrate);
  AddStage('b', StageKind::kCalibrate);
  AddStage('c', StageKind::kQuantize, "ab");
  options_.at_once = 4;
  options_.extra = {"--partition=long"};
  const SlurmSubmission submission = SubmitToSlurm(plan_, work_, options_);
  EXPECT_EQ(submission.submitted, 3u);
  EXPECT_EQ(submission.arrays, 2u);
  EXPECT_EQ(submission.done_before, 0u);
  const std::vector<std::string> calls = Split(Log(), '\n');
  ASSERT_EQ(calls.size(), 3u);  // two lines, and nothing after the last
  EXPECT_THAT(calls[0], StartsWith("--parsable --job-name=qualm-made-up-calibrate --array=0-1%4 "
                                   "--cpus-per-task=2 --mem=4M --output="));
  EXPECT_THAT(calls[0], HasSubstr(" --partition=long "));
  EXPECT_THAT(calls[0], Not(HasSubstr("--dependency")));
  EXPECT_THAT(calls[1], HasSubstr("--job-name=qualm-made-up-quantize --array=0-0%4 "));
  EXPECT_THAT(calls[1], HasSubstr(" --dependency=afterany:17_0:17_1 "));
  EXPECT_THAT(SlurmTasks(work_, "made-up"),
              ElementsAre(Pair(Key('a'), "17_0"), Pair(Key('b'), "17_1"), Pair(Key('c'), "18_0")));
}

// The folder's name has a quote, which the script escapes.
TEST_F(Slurm, ATaskRunsTheKeyInItsLineOfTheList) {
  AddStage('a', StageKind::kEvaluate);
  AddStage('b', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  EXPECT_EQ(Start(17, 1), StrCat("stage ", PlanFile(), " --threads 2 ", Key('b'), "\n"));
  EXPECT_EQ(Start(17, 0), StrCat("stage ", PlanFile(), " --threads 2 ", Key('a'), "\n"));
}

// One task's node failed. It is submitted again alone, and the others still find their stages.
TEST_F(Slurm, PartOfAnArrayIsSubmittedAgainWhileTheRestWaits) {
  for (char name : {'a', 'b', 'c', 'd'}) AddStage(name, StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  const std::map<std::string, std::string> before = Promised();
  Queue("17_1 PENDING\n17_2 PENDING\n17_3 PENDING\n");
  EXPECT_EQ(SubmitToSlurm(plan_, work_, options_).submitted, 1u);

  for (const auto& [file, text] : before) EXPECT_EQ(ReadFile(file), text) << file;
  EXPECT_THAT(Start(17, 2), HasSubstr(Key('c')));
  EXPECT_THAT(Start(17, 3), HasSubstr(Key('d')));
  EXPECT_THAT(Start(18, 0), HasSubstr(Key('a')));
}

// What waits for the task that was lost would start before the new one: it is sent again, too.
TEST_F(Slurm, WhatWaitsForALostTaskIsSubmittedAgain) {
  AddStage('a', StageKind::kCalibrate);
  AddStage('b', StageKind::kQuantize, "a");
  AddStage('c', StageKind::kEvaluate, "b");
  AddStage('d', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  Queue("18_0 PENDING\n19_0 PENDING\n20_0 PENDING\n");
  ASSERT_EQ(SlurmTasks(work_, "made-up").at(Key('d')), "18_0");
  const SlurmSubmission again = SubmitToSlurm(plan_, work_, options_);
  EXPECT_EQ(again.submitted, 3u);
  EXPECT_EQ(again.queued_before, 1u);
  const std::vector<std::string> calls = Split(Log(), '\n');
  EXPECT_EQ(calls[4], "cancel 19_0 20_0");
  EXPECT_THAT(
      calls[6],
      HasSubstr(StrCat("--dependency=afterany:", SlurmTasks(work_, "made-up").at(Key('a')), " ")));
  // One that runs already is left alone.
  Queue(StrCat(SlurmTasks(work_, "made-up").at(Key('b')), " RUNNING\n"));
  EXPECT_EQ(SubmitToSlurm(plan_, work_, options_).queued_before, 1u);
}

// A study is changed and submitted while stages of what it was wait: they find their own plan.
TEST_F(Slurm, AChangedStudyLeavesWhatWaitsAsItWas) {
  AddStage('a', StageKind::kEvaluate);
  AddStage('b', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  const std::map<std::string, std::string> before = Promised();
  const std::string old_plan = PlanFile();
  Queue("17_0 PENDING\n17_1 PENDING\n");

  plan_.stages.clear();
  AddStage('b', StageKind::kEvaluate);
  AddStage('c', StageKind::kEvaluate);
  EXPECT_EQ(SubmitToSlurm(plan_, work_, options_).submitted, 1u);
  for (const auto& [file, text] : before) EXPECT_EQ(ReadFile(file), text) << file;
  EXPECT_THAT(Start(17, 0), StartsWith(StrCat("stage ", old_plan, " ")));
  EXPECT_THAT(ReadFile(old_plan), HasSubstr(Key('a')));
  EXPECT_THAT(Start(18, 0), HasSubstr(Key('c')));
  // What waits for the study as it was can still be cancelled.
  EXPECT_EQ(SlurmTasks(work_, "made-up").at(Key('a')), "17_0");
}

TEST_F(Slurm, TheSamePlanIsKeptOnceWhateverIsEstimated) {
  AddStage('a', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  const std::map<std::string, std::string> before = Promised();
  plan_.stages[0].seconds = 99;
  SubmitToSlurm(plan_, work_, options_);
  EXPECT_EQ(Promised(), before);
}

// The program is killed: the script says so to the program, which keeps a record.
TEST_F(Slurm, ATaskWhoseProcessDiesHasThatRecorded) {
  AddStage('a', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  Program("qualm", StrCat("echo \"$@\" >> ", (folder_ / "calls").string(),
                          "\ncase \"$*\" in *--ended*) exit 0;; esac\nkill -9 $$"));
  EXPECT_EQ(Start(17, 0), StrCat("stage ", PlanFile(), " --threads 2 ", Key('a'), "\nstage ",
                                 PlanFile(), " --ended 137 --log ", work_.path().string(),
                                 "/logs/slurm-17_0.log ", Key('a'), "\n"));
}

// It died with its script, and nothing could be recorded: the end of its log tells.
TEST_F(Slurm, ATaskThatLeftNoRecordIsAFailure) {
  AddStage('a', StageKind::kEvaluate);
  AddStage('b', StageKind::kEvaluate, "a");
  SubmitToSlurm(plan_, work_, options_);
  WriteFileAtomically(work_.path() / "logs" / "slurm-17_0.log",
                      "begins\nqualm: [x] no luck\nbye\n");
  const std::string error =
      StrCat("[slurm] task 17_0 ended without a result; last line: qualm: [x] no luck; its log: ",
             (work_.path() / "logs" / "slurm-17_0.log").string());
  EXPECT_EQ(SlurmDeath(work_, "17_0"), error);

  // Left alone it is recorded, once; so is what needs it, by being left alone, too.
  options_.retry_failed = false;
  for (int round = 0; round < 2; ++round) {
    const SlurmSubmission kept = SubmitToSlurm(plan_, work_, options_);
    EXPECT_EQ(kept.submitted, 0u);
    EXPECT_EQ(kept.left_alone, 2u);
    EXPECT_THAT(kept.failures, ElementsAre(StrCat("stage a: ", error)));
    EXPECT_EQ(work_.ReadRecord(Key('a'), false)->error, error);
  }

  options_.retry_failed = true;
  const SlurmSubmission again = SubmitToSlurm(plan_, work_, options_);
  EXPECT_EQ(again.submitted, 2u);
  EXPECT_THAT(again.failures, ElementsAre(StrCat("stage a: ", error)));
}

TEST_F(Slurm, WhatAPersonCancelsIsNoFailure) {
  AddStage('a', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  const std::filesystem::path log = work_.path() / "logs" / "slurm-17_0.log";
  WriteFileAtomically(log,
                      "slurmstepd: error: *** JOB 17 ON n CANCELLED AT 2026-01-01T00:00:00 ***");
  EXPECT_EQ(SlurmDeath(work_, "17_0"), "");
  EXPECT_THAT(SubmitToSlurm(plan_, work_, options_).failures, IsEmpty());
  WriteFileAtomically(
      log,
      "slurmstepd: error: *** JOB 17 ON n CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***");
  EXPECT_THAT(SlurmDeath(work_, "17_0"), HasSubstr("DUE TO TIME LIMIT"));
}

TEST_F(Slurm, OneProcessSubmitsAStudyAtATime) {
  AddStage('a', StageKind::kEvaluate);
  const std::unique_ptr<StageLock> other = work_.BeSubmitter("made-up");
  EXPECT_THAT(ErrorOf([&] { SubmitToSlurm(plan_, work_, options_); }, ErrorKind::kFailed),
              HasSubstr("another process submits this study now"));
  EXPECT_EQ(Log(), "");
}

TEST_F(Slurm, ASpeedIsMeasuredAlone) {
  AddStage('a', StageKind::kMeasure);
  AddStage('b', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  const std::vector<std::string> calls = Split(Log(), '\n');
  EXPECT_THAT(calls[0], HasSubstr(" --exclusive "));
  EXPECT_THAT(calls[1], Not(HasSubstr("--exclusive")));
  EXPECT_THAT(calls[0], HasSubstr("--array=0-0 "));  // without a bound
}

TEST_F(Slurm, OnlyWhatIsNeitherDoneNorQueuedIsSubmittedAgain) {
  AddStage('a', StageKind::kCalibrate);
  AddStage('b', StageKind::kQuantize, "a");
  AddStage('c', StageKind::kEvaluate, "b");
  SubmitToSlurm(plan_, work_, options_);
  Record('a', "done");
  Record('c', "failed");
  Queue("18_0 RUNNING\n99_1 PENDING\n");
  const SlurmSubmission again = SubmitToSlurm(plan_, work_, options_);
  EXPECT_EQ(again.done_before, 1u);
  EXPECT_EQ(again.queued_before, 1u);
  EXPECT_EQ(again.submitted, 1u);
  EXPECT_THAT(Split(Log(), '\n')[3], HasSubstr("--dependency=afterany:18_0 "));
  EXPECT_FALSE(work_.ReadRecord(Key('c')));  // the failure is gone, so that it runs again
  EXPECT_THAT(SlurmTasks(work_, "made-up"),
              ElementsAre(Pair(Key('b'), "18_0"), Pair(Key('c'), "20_0")));
}

TEST_F(Slurm, TheQueueIsReadByTaskAndState) {
  EXPECT_THAT(SlurmQueue(), IsEmpty());
  Queue("17_0 RUNNING\n17_1 PENDING\nnonsense\n");
  EXPECT_THAT(SlurmQueue(), ElementsAre(Pair("17_0", "RUNNING"), Pair("17_1", "PENDING")));
}

TEST_F(Slurm, CancelsOnlyWhatIsInTheQueue) {
  EXPECT_EQ(CancelSlurm(work_, "made-up"), 0u);
  EXPECT_EQ(Log(), "");
  AddStage('a', StageKind::kCalibrate);
  AddStage('b', StageKind::kCalibrate);
  SubmitToSlurm(plan_, work_, options_);
  Queue("17_1 PENDING\n99_0 RUNNING\n");
  EXPECT_EQ(CancelSlurm(work_, "made-up"), 1u);
  EXPECT_THAT(Log(), ::testing::EndsWith("cancel 17_1\n"));
}

TEST_F(Slurm, WhatSlurmSaysIsPassedOn) {
  AddStage('a', StageKind::kCalibrate);
  Program("sbatch", "echo 'Invalid partition' >&2\nexit 1");
  EXPECT_EQ(ErrorOf([&] { SubmitToSlurm(plan_, work_, options_); }, ErrorKind::kFailed),
            "[sbatch] it failed: Invalid partition");
  Program("sbatch", "echo Submitted");
  EXPECT_EQ(ErrorOf([&] { SubmitToSlurm(plan_, work_, options_); }, ErrorKind::kFailed),
            "[sbatch] expected a job's number; got 'Submitted'");
  Program("sbatch", "true");
  EXPECT_EQ(ErrorOf([&] { SubmitToSlurm(plan_, work_, options_); }, ErrorKind::kFailed),
            "[sbatch] expected a job's number; got ''");
  Program("sbatch", "echo '23;cluster'");
  EXPECT_EQ(SubmitToSlurm(plan_, work_, options_).submitted, 1u);
  EXPECT_THAT(SlurmTasks(work_, "made-up"), ElementsAre(Pair(Key('a'), "23_0")));
}

TEST_F(Slurm, AMachineWithoutSlurmSaysSo) {
  setenv("PATH", (folder_ / "nothing here").c_str(), 1);
  EXPECT_EQ(ErrorOf([] { SlurmQueue(); }, ErrorKind::kFailed),
            "[squeue] cannot start it: No such file or directory; is Slurm installed?");
}

TEST_F(Slurm, AListOfTasksThatIsNoneIsRefused) {
  EXPECT_THAT(SlurmTasks(work_, "made-up"), IsEmpty());
  WriteFileAtomically(work_.Slurm("made-up"), "{\"a\": \"17; rm\"}");
  EXPECT_EQ(ErrorOf([&] { SlurmTasks(work_, "made-up"); }),
            StrCat("[", work_.Slurm("made-up").string(),
                   "] expected ids of tasks, '17_3'; got \"17; rm\""));
  WriteFileAtomically(work_.Slurm("made-up"), "{\"a\": 17}");
  EXPECT_THAT(ErrorOf([&] { SlurmTasks(work_, "made-up"); }), HasSubstr("got 17"));
}

TEST_F(Slurm, AnArrayHoldsAThousandTasks) {
  for (int i = 0; i < 1001; ++i) {
    Stage stage;
    stage.key = StrCat(i);
    plan_.stages.push_back(stage);
  }
  const std::vector<SlurmArray> arrays =
      PlanSlurmArrays(plan_, std::vector<SlurmState>(1001, SlurmState::kOpen));
  ASSERT_EQ(arrays.size(), 2u);
  EXPECT_EQ(arrays[0].stages.size(), 1000u);
  EXPECT_THAT(arrays[1].stages, ElementsAre(1000));
}

}  // namespace
}  // namespace qualm
