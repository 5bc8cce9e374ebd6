// Slurm's programs are small scripts here, which write down how they were called.
#include "study/slurm.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>
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
    // Jobs are numbered from 17; the queue is what a file says.
    Program("sbatch",
            StrCat("echo \"$@\" >> ", log(), "\nn=$(wc -l < ", log(), ")\necho $((16 + n))"));
    Program("squeue", StrCat("cat ", (folder_ / "queue").string()));
    Program("scancel", StrCat("echo cancel \"$@\" >> ", log()));
    Queue("");
    const char* path = std::getenv("PATH");
    path_ = path == nullptr ? "" : path;
    setenv("PATH", StrCat((folder_ / "bin").string(), ":", path_).c_str(), 1);

    plan_.spec.name = "made-up";
    options_.command = {"/bin/qualm", "stage"};
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

TEST_F(Slurm, ATaskRunsTheKeyInItsLineOfTheList) {
  AddStage('a', StageKind::kEvaluate);
  AddStage('b', StageKind::kEvaluate);
  SubmitToSlurm(plan_, work_, options_);
  const std::string base = (work_.path() / "slurm" / Key('a')).string();
  EXPECT_EQ(ReadFile(base + ".list"), StrCat(Key('a'), "\n", Key('b'), "\n"));
  // The folder's name has a quote, which the script escapes.
  const std::string script = ReadFile(base + ".sh");
  EXPECT_THAT(script, HasSubstr("/it'\\''s/slurm/"));
  EXPECT_THAT(script, HasSubstr("exec '/bin/qualm' 'stage' '"));
  EXPECT_THAT(script, HasSubstr("--threads \"${SLURM_CPUS_PER_TASK:-1}\" \"$key\"\n"));
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
