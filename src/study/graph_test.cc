#include "study/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "base/progress.h"
#include "base/strings.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "tasks/items.h"

namespace qualm {
namespace {

std::string StudyText(const std::string& more) {
  return StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [", testing::SourceRoot().string(),
                "/demo/model]\nrecipes: [rtn-w4-g64, gptq-w4-g64]\nseeds: 2\n"
                "defaults: {samples: 2, length: 16, held_out: 0}\n"
                "calibration:\n"
                "  - {name: rows, rows: {task: boolq}, about: {dataset: boolq}}\n"
                "  - {name: random, random_tokens: true}\n"
                "  - {name: again, again: random}\n"
                "tests: [{name: boolq, task: boolq, shots: 0, about: {dataset: boolq}}]\n",
                more);
}

StudyPlan PlanOf(const std::string& more) {
  PlanOptions options;
  options.data_folder = testing::SourceRoot() / "tests" / "data" / "rows";
  SilentProgress progress;
  return MakeStudyPlan(ParseStudy(StudyText(more), "x.yaml"), options, progress);
}

std::set<std::string> KeysOf(const StudyPlan& plan, StageKind kind) {
  std::set<std::string> keys;
  for (const Stage& stage : plan.stages) {
    if (stage.kind() == kind) keys.insert(stage.key);
  }
  return keys;
}

// 3 sets x 2 seeds of one recipe, one without data, the float model.
TEST(StudyGraph, HasAStageForEachDifferentThing) {
  const StudyPlan plan = PlanOf("");
  EXPECT_EQ(KeysOf(plan, StageKind::kCalibrate).size(), 6U);
  EXPECT_EQ(KeysOf(plan, StageKind::kQuantize).size(), 7U);
  EXPECT_EQ(KeysOf(plan, StageKind::kEvaluate).size(), 8U);
  EXPECT_EQ(plan.cells.size(), 8U);
  EXPECT_EQ(plan.cells[0].recipe, "float");
  for (const CellRun& cell : plan.cells) {
    if (cell.calibration == "again") {
      EXPECT_GE(cell.seed, 2U);  // other seeds than the original's
    }
    if (cell.calibration == "rows") {
      EXPECT_EQ(cell.relation, Relation::kIid);
    }
    if (cell.calibration == "random") {
      EXPECT_EQ(cell.relation, Relation::kControl);
    }
  }
}

TEST(StudyGraph, SameInputsSameKeys) {
  EXPECT_EQ(KeysOf(PlanOf(""), StageKind::kEvaluate), KeysOf(PlanOf(""), StageKind::kEvaluate));
}

// The rows that are scored depend on how the split is parted.
TEST(StudyGraph, AnotherPoolIsAnotherTest) {
  const std::set<std::string> half = KeysOf(PlanOf(""), StageKind::kEvaluate);
  for (const char* other : {"pools: {calibration_share: 0.6}\n", "pools: {seed: 1}\n"}) {
    for (const std::string& key : KeysOf(PlanOf(other), StageKind::kEvaluate)) {
      EXPECT_FALSE(half.contains(key)) << other;
    }
  }
}

TEST(StudyGraph, RulesLeaveCellsOut) {
  const StudyPlan plan = PlanOf("exclude: [{relation: control}]\n");
  EXPECT_EQ(plan.cells.size(), 1 + 1 + 2U);
  EXPECT_EQ(KeysOf(plan, StageKind::kCalibrate).size(), 2U);
}

TEST(StudyGraph, APlanComesBackFromItsFile) {
  const StudyPlan plan = PlanOf("budgets: [{bits_per_weight: 3}]\n");
  const Json json = ToJson(plan);
  EXPECT_EQ(ToJson(StudyPlanFromJson(ParseJson(json.dump(), "x"), "x")).dump(), json.dump());
}

// A study of one small model below `folder`, with a text and rows.
StudyPlan PlanIn(const std::filesystem::path& folder) {
  PlanOptions options;
  options.data_folder = folder / "data";
  SilentProgress progress;
  return MakeStudyPlan(
      ParseStudy(StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [", folder.string(),
                        "/model]\nrecipes: [gptq-w4-g64]\n"
                        "defaults: {samples: 2, length: 16, held_out: 0}\n"
                        "calibration:\n  - {name: a, corpus: ",
                        folder.string(), "/a.txt}\n  - {name: self, self_generated: {}}\n",
                        "tests: [{name: boolq, task: boolq, shots: 0}, {name: own, task: ",
                        folder.string(),
                        "/own.yaml}]\n"
                        "efficiency: {prompt: 8}\n"),
                 "x.yaml"),
      options, progress);
}

// Whatever a stage reads: when it changes, the stage is another one. Stages that do not read it
// keep their keys, and so does everything where only folders move.
TEST(StudyGraph, KeysChangeWithEveryFileThatIsRead) {
  const testing::TemporaryFolder first, second;
  const auto fill = [](const testing::TemporaryFolder& folder) {
    const std::filesystem::path root = testing::SourceRoot();
    std::filesystem::copy(root / "demo" / "model", folder / "model");
    std::filesystem::create_directories(folder / "data");
    std::filesystem::copy(root / "tests" / "data" / "rows" / "boolq", folder / "data" / "boolq");
    folder.Write("a.txt", std::string(4000, 'a'));
    for (const char* name :
         {"special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}) {
      folder.Write(StrCat("model/", name), "{}");
    }

    // A task of the user's with what may belong to one besides rows: a header, and pieces of BLEU
    // with their configuration.
    std::filesystem::create_directories(folder / "data/pieces");
    for (const char* name : {"tokenizer.model", "tokenizer_config.json"}) {
      std::filesystem::copy(root / "demo" / "model" / name, folder / "data/pieces");
    }
    folder.Write("data/head.txt", "---\nQuestions.\n");
    folder.Write("own.yaml",
                 "name: own\ntitle: t\nversion: 1\nharness: h\nkind: generation\n"
                 "data: {set: boolq, split: val}\ncontext: \"{question}\"\n"
                 "header: {file: head.txt, after: \"---\\n\"}\n"
                 "generate: {max_tokens: 4, bleu: spm, bleu_pieces: pieces/tokenizer.model}\n"
                 "references: [\"{passage}\"]\nmetrics: [bleu]\n");
  };
  fill(first);
  fill(second);
  const StudyPlan plan = PlanIn(first.path()), moved = PlanIn(second.path());
  ASSERT_EQ(plan.stages.size(), moved.stages.size());
  std::set<std::string> roles;
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    EXPECT_EQ(plan.stages[i].key, moved.stages[i].key) << plan.stages[i].label;
    for (const InputFile& file : plan.files.at(plan.stages[i].files).files()) {
      if (!file.path.empty()) roles.insert(file.role);
    }
  }
  for (const char* role :
       {"config.json", "a.txt", "special_tokens_map.json", "added_tokens.json",
        "chat_template.jinja", "generation_config.json", "head.txt", "tasks/own.yaml",
        "pieces/tokenizer.model", "pieces/tokenizer_config.json"}) {
    EXPECT_TRUE(roles.contains(role)) << role;
  }

  for (const std::string& role : roles) {
    std::string path;
    for (const auto& [hash, set] : moved.files) {
      if (const InputFile* file = set.Find(role)) path = file->path;
    }
    // What can still be read: another byte in a tensor, an unknown field in a protocol buffer, a
    // blank at the end of a text.
    const std::string before = ReadFile(path);
    std::string after = before;
    if (path.ends_with(".safetensors")) {
      after.back() = static_cast<char>(after.back() ^ 1);
    } else if (path.ends_with(".model")) {
      after += "\x78\x01";
    } else {
      after += " ";
    }
    WriteFileAtomically(path, after);
    const StudyPlan changed = PlanIn(second.path());
    WriteFileAtomically(path, before);

    ASSERT_EQ(changed.stages.size(), plan.stages.size());
    for (size_t i = 0; i < plan.stages.size(); ++i) {
      const Stage& stage = plan.stages[i];
      bool depends = plan.files.at(stage.files).Find(role) != nullptr;
      for (const std::string& need : stage.needs) {
        depends |= plan.files.at(plan.Find(need).files).Find(role) != nullptr;
        for (const std::string& inner : plan.Find(need).needs) {
          depends |= plan.files.at(plan.Find(inner).files).Find(role) != nullptr;
        }
      }
      EXPECT_EQ(changed.stages[i].key != stage.key, depends) << role << ", " << stage.label;
    }
  }
}

// Both data sets read the same file; they join its lines in different ways.
TEST(StudyGraph, ATextThatIsJoinedInAnotherWayIsAnotherTest) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "ptb");
  folder.Write("ptb/ptb.test.txt", "one line\nand another\n");
  PlanOptions options;
  options.data_folder = folder.path();
  SilentProgress progress;
  const StudyPlan plan =
      MakeStudyPlan(ParseStudy(StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [",
                                      testing::SourceRoot().string(),
                                      "/demo/model]\nrecipes: [rtn-w4-g64]\ntests:\n"
                                      "  - {name: a, corpus: \"ptb:test\"}\n"
                                      "  - {name: b, corpus: \"ptb-new:test\"}\n"),
                               "x.yaml"),
                    options, progress);
  EXPECT_EQ(KeysOf(plan, StageKind::kEvaluate).size(), 4U);  // of two models
}

// Template, day and options decide what a model is asked; tests without a template keep their keys.
TEST(StudyGraph, HowATestIsAskedIsPartOfItsKey) {
  const testing::TemporaryFolder folder;
  folder.Write("own.jinja", "{{ messages[0].content }}");
  const auto keys = [&](const std::string& chat) {
    PlanOptions options;
    options.data_folder = testing::SourceRoot() / "tests" / "data" / "rows";
    options.study_folder = folder.path();
    SilentProgress progress;
    return KeysOf(MakeStudyPlan(ParseStudy(StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [",
                                                  testing::SourceRoot().string(),
                                                  "/demo/model]\nrecipes: [rtn-w4-g64]\ntests:\n"
                                                  "  - {task: boolq, shots: 0",
                                                  chat, "}\n"),
                                           "x.yaml"),
                                options, progress),
                  StageKind::kEvaluate);
  };

  std::set<std::string> all;
  size_t tests = 0;
  for (const char* chat :
       {"", ", chat_template: chatml", ", chat_template: llama3", ", chat_template: ./own.jinja",
        ", chat_template: chatml, date: 2025-01-31",
        ", chat_template: chatml, chat_options: enable_thinking=false",
        ", chat_template: chatml, chat_options: [enable_thinking=true]"}) {
    for (const std::string& key : keys(chat)) all.insert(key);
    ++tests;
    EXPECT_EQ(all.size(), 2 * tests) << chat;  // of two models
  }
  folder.Write("own.jinja", "{{ messages[0].content }}!");
  for (const std::string& key : keys(", chat_template: ./own.jinja")) {
    EXPECT_FALSE(all.contains(key));
  }
  EXPECT_THAT(testing::ErrorOf([&] { (void)keys(", chat: true"); }),
              ::testing::HasSubstr("chat_template takes one by name"));
}

TEST(StudyGraph, AFileThatChangedIsNotWhatWasPlanned) {
  const StudyPlan plan = PlanOf("");
  const Stage& stage = plan.stages[0];
  InputSet opened = plan.files.at(stage.files);
  EXPECT_NO_THROW(plan.RequireUnchanged(stage, opened, "the text"));
  opened.AddText("another", "file");
  EXPECT_THAT(testing::ErrorOf([&] { plan.RequireUnchanged(stage, opened, "the text"); }),
              ::testing::HasSubstr("the text has changed since the study was planned"));
  InputSet none;
  EXPECT_THAT(testing::ErrorOf([&] { plan.RequireUnchanged(stage, none, "the text"); }),
              ::testing::HasSubstr("the text names no file"));
}

TEST(StudyGraph, APlanWithoutTheFilesOfAStageIsRefused) {
  Json json = ToJson(PlanOf(""));
  json["files"] = Json::object();
  EXPECT_THAT(testing::ErrorOf([&] { StudyPlanFromJson(json, "p.json"); }),
              ::testing::HasSubstr("[p.json] expected the files of stage"));
}

// A study that calibrates on the rows of one task and scores those of another, below one folder.
class SharedRows : public ::testing::Test {
 protected:
  SharedRows() {
    std::filesystem::create_directories(folder_ / "boolq");
    std::string rows;
    for (int i = 0; i < 40; ++i) {
      rows += StrCat("{\"question\": \"is it ", i, "\", \"passage\": \"It is ", i,
                     ".\", \"label\": ", i % 2 == 0 ? "true" : "false", "}\n");
    }
    rows_ = rows;
    folder_.Write("boolq/val.jsonl", rows);
    folder_.Write("boolq/train.jsonl", rows.substr(0, rows.size() / 2 + 1));
    folder_.Write("mine.jsonl", rows);
  }

  // A task of the user's own on a file, or on a set that is compiled in.
  std::string TaskOn(const std::string& name, const std::string& set,
                     const std::string& split = "all") const {
    return folder_
        .Write(StrCat(name, ".yaml"),
               StrCat("name: ", std::filesystem::path(name).filename().string(),
                      "\ntitle: t\nversion: 1\nharness: h\nkind: multiple_choice\ndata: {set: ",
                      set, ", split: ", split,
                      "}\ncontext: \"{question}\"\ncontinuation: \" {choice}\"\n"
                      "choices: [yes, no]\nanswer: {is: index, value: \"0\"}\n"
                      "metrics: [acc]\n"))
        .string();
  }
  std::string OwnFile(const std::string& name) const { return (folder_ / name).string(); }

  StudyPlan PlanFor(const std::string& calibration, const std::string& test,
                    const std::string& split = "") const {
    PlanOptions options;
    options.data_folder = folder_.path();
    SilentProgress progress;
    return MakeStudyPlan(
        ParseStudy(StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [",
                          testing::SourceRoot().string(), "/demo/model]\nrecipes: [gptq-w4-g64]\n",
                          "defaults: {samples: 2, length: 16, held_out: 0}\n"
                          "calibration:\n  - {name: rows, rows: {task: ",
                          calibration, split.empty() ? "" : StrCat(", split: ", split),
                          "}}\ntests: [{name: scored, task: ", test, ", shots: 0}]\n"),
                   "x.yaml"),
        options, progress);
  }

  // Which rows of its file a stage reads.
  std::set<size_t> RowsOf(const std::string& task, const std::string& split,
                          const PooledRows& rows) const {
    ItemOptions options = rows.Options();
    options.shots = 0;
    Task found = FindTask(task);
    if (!split.empty()) found.split = split;
    std::set<size_t> numbers;
    for (const TaskItem& item : MakeItems(found, options, folder_.path()).items) {
      numbers.insert(item.row);
    }
    return numbers;
  }

  // Rows that are both calibrated on and scored, and how many are used.
  std::pair<size_t, size_t> Overlap(const std::string& calibration, const std::string& test,
                                    const std::string& split = "") const {
    std::set<size_t> calibrated, scored;
    for (const Stage& stage : PlanFor(calibration, test, split).stages) {
      if (const auto* set = std::get_if<CalibrateInputs>(&stage.inputs)) {
        calibrated = RowsOf(calibration, split, set->rows);
      } else if (const auto* asked = std::get_if<EvaluateInputs>(&stage.inputs)) {
        scored = RowsOf(test, "", asked->rows);
      }
    }
    std::set<size_t> all = calibrated, both;
    all.insert(scored.begin(), scored.end());
    for (size_t row : calibrated) {
      if (scored.contains(row)) both.insert(row);
    }
    return {both.size(), all.size()};
  }

  testing::TemporaryFolder folder_;
  std::string rows_;
};

using Counts = std::pair<size_t, size_t>;

TEST_F(SharedRows, AreKeptApartUnderEveryName) {
  const std::string one = TaskOn("one", OwnFile("mine.jsonl"));
  EXPECT_EQ(Overlap("boolq", "boolq"), Counts(0, 40));
  EXPECT_EQ(Overlap(one, one), Counts(0, 40));

  // The same file by two tasks, by two paths, through a link, and as a copy.
  EXPECT_EQ(Overlap(one, TaskOn("two", OwnFile("mine.jsonl"))), Counts(0, 40));
  EXPECT_EQ(Overlap(one, TaskOn("dots", OwnFile("boolq/../mine.jsonl"))), Counts(0, 40));
  std::filesystem::create_symlink(folder_ / "mine.jsonl", folder_ / "link.jsonl");
  EXPECT_EQ(Overlap(one, TaskOn("linked", OwnFile("link.jsonl"))), Counts(0, 40));
  folder_.Write("copy.jsonl", rows_);
  EXPECT_EQ(Overlap(TaskOn("copied", OwnFile("copy.jsonl")), one), Counts(0, 40));

  // A file of the user's that is one of a set that is compiled in, and the other way round.
  EXPECT_EQ(Overlap(one, "boolq"), Counts(0, 40));
  EXPECT_EQ(Overlap("boolq", one), Counts(0, 40));

  // Two splits of one set that are one file.
  folder_.Write("boolq/train.jsonl", rows_);
  EXPECT_EQ(Overlap("boolq", "boolq", "train"), Counts(0, 40));
}

// Like models and recipes; where the study lies is not in the keys.
TEST_F(SharedRows, TaskFilesAreFoundFromTheStudysFolder) {
  const auto plan_in = [&](const std::string& folder) {
    std::filesystem::create_directories(folder_ / folder);
    (void)TaskOn(StrCat(folder, "/near"), "boolq", "val");
    PlanOptions options;
    options.data_folder = folder_.path();
    options.study_folder = folder_ / folder;
    SilentProgress progress;
    return MakeStudyPlan(
        ParseStudy(
            StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [", testing::SourceRoot().string(),
                   "/demo/model]\nrecipes: [gptq-w4-g64]\n"
                   "defaults: {samples: 2, length: 16, held_out: 0}\n"
                   "calibration:\n  - {name: rows, rows: {task: near.yaml}}\n"
                   "tests: [{task: near.yaml, shots: 0}]\n"),
            "x.yaml"),
        options, progress);
  };
  const StudyPlan plan = plan_in("a"), moved = plan_in("b");
  EXPECT_EQ(KeysOf(plan, StageKind::kEvaluate).size(), 2U);
  EXPECT_EQ(plan.spec.tests[0].name, "near.yaml");
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const Stage& stage = plan.stages[i];
    if (const auto* asked = std::get_if<EvaluateInputs>(&stage.inputs)) {
      EXPECT_EQ(asked->task.path, (folder_ / "a" / "near.yaml").string());
    } else if (const auto* set = std::get_if<CalibrateInputs>(&stage.inputs)) {
      EXPECT_EQ(set->task.path, (folder_ / "a" / "near.yaml").string());
    }
    EXPECT_EQ(stage.key, moved.stages[i].key) << stage.label;
  }
}

// A name with a folder is a file, too, whatever its ending.
TEST_F(SharedRows, TaskFilesOfOtherEndingsAreFoundFromTheStudysFolder) {
  std::filesystem::create_directories(folder_ / "c" / "tasks");
  std::filesystem::rename(TaskOn("c/tasks/near", "boolq", "val"), folder_ / "c/tasks/near.yml");
  PlanOptions options;
  options.data_folder = folder_.path();
  options.study_folder = folder_ / "c";
  SilentProgress progress;
  const StudyPlan plan =
      MakeStudyPlan(ParseStudy(StrCat("name: one\ntitle: T\nquestion: Q\nmodels: [",
                                      testing::SourceRoot().string(),
                                      "/demo/model]\nrecipes: [rtn-w4-g64]\n"
                                      "tests: [{task: tasks/near.yml, shots: 0}]\n"),
                               "x.yaml"),
                    options, progress);

  size_t asked = 0;
  for (const Stage& stage : plan.stages) {
    const auto* inputs = std::get_if<EvaluateInputs>(&stage.inputs);
    if (inputs == nullptr) continue;
    ++asked;
    EXPECT_EQ(inputs->task.path, (folder_ / "c/tasks/near.yml").string());
  }
  EXPECT_EQ(asked, 2U);
}

TEST_F(SharedRows, OfOtherContentAreAllUsed) {
  const std::string one = TaskOn("one", OwnFile("mine.jsonl"));
  folder_.Write("other.jsonl", rows_ + rows_.substr(0, rows_.find('\n') + 1));
  for (const Stage& stage : PlanFor(one, TaskOn("two", OwnFile("other.jsonl"))).stages) {
    if (const auto* asked = std::get_if<EvaluateInputs>(&stage.inputs)) {
      EXPECT_EQ(asked->rows.pool, RowPool::kAll);
    }
  }
}

// Row 3 of one is not row 3 of the other: no pools part them.
TEST_F(SharedRows, ThatStandAtOtherPlacesAreRefused) {
  std::filesystem::create_directories(folder_ / "set");
  folder_.Write("set/test-00000-of-00002.jsonl", "{\"question\": \"q\"}\n");
  folder_.Write("set/test-00001-of-00002.jsonl", rows_);
  const std::string shards = TaskOn("shards", OwnFile("set"), "test");
  const std::string error = testing::ErrorOf([&] { (void)PlanFor(shards, "boolq"); });
  EXPECT_THAT(error, ::testing::HasSubstr("calibration set rows"));
  EXPECT_THAT(error, ::testing::HasSubstr("test scored"));
}

TEST(RowPools, PartTheRowsOnce) {
  size_t calibration = 0;
  for (size_t i = 0; i < 1000; ++i) {
    SourcedRow row;
    row.index = i;
    const RowPool pool = PoolOf(row, "set", 0, 0.3);
    EXPECT_EQ(pool, PoolOf(row, "set", 0, 0.3));
    calibration += pool == RowPool::kCalibration ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(calibration), 300, 4 * 14.5);  // sqrt(1000 · 0.3 · 0.7) = 14.5
}

}  // namespace
}  // namespace qualm
