#include "study/stage_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/context.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/strings.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

// A study of one small model with every kind of stage, in a folder where files can be changed after
// the plan is made.
class PlannedFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path root = testing::SourceRoot();
    std::filesystem::copy(root / "demo" / "model", folder_ / "model");
    folder_.Write("a.txt", Repeated("Once upon a time there was a small bird. "));
    PlanOptions options;
    // Rows to calibrate on that are not those that are scored: with the same ones in both files,
    // each stage would get a part of them.
    options.data_folder = folder_ / "data";
    std::filesystem::create_directories(folder_ / "data" / "boolq");
    const std::string rows = ReadFile(root / "tests" / "data" / "rows" / "boolq" / "val.jsonl");
    folder_.Write("data/boolq/val.jsonl", rows);
    folder_.Write("data/boolq/train.jsonl", rows + rows);
    plan_ = MakeStudyPlan(
        ParseStudy(StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [", folder_.path().string(),
                          "/model]\nrecipes: [rtn-w4-g64, gptq-w4-g64]\n"
                          "defaults: {samples: 2, length: 16, held_out: 0}\n"
                          "calibration:\n"
                          "  - {name: text, corpus: ",
                          (folder_ / "a.txt").string(),
                          "}\n"
                          "  - {name: rows, rows: {task: boolq, split: train}}\n"
                          "  - {name: random, random_tokens: true}\n"
                          "  - {name: self, self_generated: {}}\n"
                          "tests:\n"
                          "  - {name: story, corpus: ",
                          (folder_ / "a.txt").string(),
                          ", seqlen: 64, limit: 1}\n"
                          "  - {name: boolq, task: boolq, shots: 0, limit: 1}\n"
                          "efficiency: {prompt: 8, gen: 2}\n"),
                   "x.yaml"),
        options, context_.progress);
  }

  static std::string Repeated(const std::string& text) {
    std::string all;
    for (int i = 0; i < 200; ++i) all += text;
    return all;
  }

  // The stage whose label begins and ends like that.
  const Stage& Labelled(std::string_view begin, std::string_view end) const {
    for (const Stage& stage : plan_.stages) {
      if (stage.label.starts_with(begin) && stage.label.ends_with(end)) return stage;
    }
    ADD_FAILURE() << begin << " ... " << end;
    return plan_.stages.front();
  }

  // What a new process records of the stage; "": it is done.
  std::string ErrorOfRun(const Stage& stage) {
    RunStages(plan_, {stage.key}, work_, {}, context_);
    const auto record = work_.ReadRecord(stage.key, false);
    return record ? record->error : "no record";
  }

  void Append(const char* file, std::string_view bytes) const {
    const std::filesystem::path path = folder_.path() / "model" / file;
    WriteFileAtomically(path, StrCat(ReadFile(path), bytes));
  }

  testing::TestContext context_{1};
  testing::TemporaryFolder folder_;
  WorkFolder work_{folder_.path() / "work"};
  StudyPlan plan_;
};

// An unknown field in the protocol buffer: it can still be read, and gives the same tokens.
TEST_F(PlannedFiles, CalibrationRefusesAnotherTokenizer) {
  Append("tokenizer.model", "\x78\x01");
  for (const char* set : {" text seed 0", " rows seed 0", " random seed 0"}) {
    EXPECT_THAT(ErrorOfRun(Labelled("calibrate", set)), HasSubstr("the tokenizer has changed"))
        << set;
  }
}

TEST_F(PlannedFiles, StagesThatRunTheFloatModelRefuseAnother) {
  const Stage& quantize = Labelled("quantize model rtn", "seed 0");
  EXPECT_EQ(ErrorOfRun(quantize), "");
  Append("config.json", " ");
  for (const Stage* stage : {&Labelled("calibrate", " self seed 0"), &Labelled("measure", " float"),
                             &Labelled("evaluate model float", "on story"),
                             &Labelled("evaluate model float", "on boolq"),
                             &Labelled("evaluate model rtn", "on story")}) {
    EXPECT_THAT(ErrorOfRun(*stage), HasSubstr("the model has changed")) << stage->label;
  }
}

// Before any work: no folder is begun. Also a file that is only copied decides what is made.
TEST_F(PlannedFiles, QuantizationRefusesAnotherModelBeforeItBegins) {
  const Stage& quantize = Labelled("quantize model rtn", "seed 0");
  for (const char* file : {"config.json", "generation_config.json", "tokenizer_config.json"}) {
    const std::string before = ReadFile(folder_.path() / "model" / file);
    Append(file, " ");
    EXPECT_THAT(ErrorOfRun(quantize), HasSubstr("the model has changed")) << file;
    EXPECT_FALSE(std::filesystem::exists(work_.Artefact(quantize.key))) << file;
    work_.RemoveRecord(quantize.key);
    WriteFileAtomically(folder_.path() / "model" / file, before);
  }
  EXPECT_EQ(ErrorOfRun(quantize), "");
}

// Plays a loader that opens a file and tells nobody.
class OpensAFile final : public Progress {
 public:
  explicit OpensAFile(std::filesystem::path file) : file_(std::move(file)) {}
  void Begin(std::string_view, uint64_t) override { (void)ReadFile(file_); }
  void Advance(uint64_t, std::string_view) override {}
  void End() override {}
  void Warn(std::string_view) override {}
  void Info(std::string_view) override { (void)ReadFile(file_); }

 private:
  std::filesystem::path file_;
};

TEST_F(PlannedFiles, AFileThatIsNotPartOfTheKeyFailsTheStage) {
  const Stage& story = Labelled("evaluate model float", "on story");
  OpensAFile secret(folder_.Write("secret.json", "{}"));
  RunStages(plan_, {story.key}, work_, {}, Context{context_.pool, secret});
  const auto record = work_.ReadRecord(story.key);
  ASSERT_TRUE(record);
  EXPECT_FALSE(record->is_done());
  EXPECT_THAT(record->error, HasSubstr("secret.json, which is not part of its key"));

  // A file of the stage may be opened.
  work_.RemoveRecord(story.key);
  OpensAFile known(folder_.path() / "model" / "config.json");
  RunStages(plan_, {story.key}, work_, {}, Context{context_.pool, known});
  EXPECT_TRUE(work_.IsDone(story.key));
}

TEST_F(PlannedFiles, StagesRunOnWhatWasPlanned) {
  for (const Stage* stage :
       {&Labelled("calibrate", " text seed 0"), &Labelled("calibrate", " rows seed 0"),
        &Labelled("calibrate", " random seed 0"), &Labelled("measure", " float"),
        &Labelled("evaluate model float", "on story"),
        &Labelled("evaluate model float", "on boolq")}) {
    EXPECT_EQ(ErrorOfRun(*stage), "") << stage->label;
  }
}

}  // namespace
}  // namespace qualm
