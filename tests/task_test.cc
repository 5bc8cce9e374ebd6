// Tasks from YAML to scores: items from files, requests, answers, the store; on the embedded demo
// model and made-up rows.
#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "evaluate/comparison.h"
#include "evaluate/task_run.h"
#include "model/model.h"
#include "results/store.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr const char* kSst2 = R"(
name: tiny
title: t
version: 3
data: {set: sst2, split: dev}
shots: {split: train, default: 1, separator: " || "}
header: "H "
context: "{sentence}:"
continuation: " {choice}"
choices: [negative, positive]
answer: {is: index, value: "{label}"}
metrics: [acc, acc_norm, acc_pmi]
)";

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

class Tasks : public ::testing::Test {
 protected:
  Tasks() : context_(2) {}

  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("qualm_task_") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "glue-sst2");
    std::filesystem::create_directories(folder_ / "mmlu/test");
    WriteFileAtomically(folder_ / "glue-sst2/train.tsv", "good\t1\nbad\t0\nfine\t1\n");
    WriteFileAtomically(folder_ / "glue-sst2/dev.tsv", "so so\t0\nnice\t1\nawful\t0\nwow\t1\n");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  TaskItems Items(const std::string& yaml, const ItemOptions& options = {}) const {
    return MakeItems(ParseTask(yaml, "t.yaml"), options, folder_);
  }

  TaskOutcome Run(const std::string& yaml, ResultStore* store = nullptr, size_t limit = 0,
                  const std::filesystem::path& model = testing::SourceRoot() / "demo/model",
                  const std::string& hash = "") {
    const Model loaded = LoadModel(model, {}, context_);
    TaskRunOptions options;
    options.data_folder = folder_;
    options.store = store;
    options.items.limit = limit;
    return RunTask(ParseTask(yaml, "t.yaml"), loaded, hash.empty() ? loaded.Hash() : hash, options,
                   context_);
  }

  testing::TestContext context_;
  std::filesystem::path folder_;
};

TEST_F(Tasks, ItemsHaveHeaderShotsAndContext) {
  const TaskItems made = Items(kSst2);
  ASSERT_EQ(made.items.size(), 4u);
  EXPECT_FALSE(made.is_partial);
  const TaskItem& item = made.items[1];
  EXPECT_EQ(item.shots->Prompt(made.shots), "H good: positive || ");
  EXPECT_EQ(item.ContextOf(0), "nice:");
  EXPECT_THAT(item.continuations, ElementsAre(" negative", " positive"));
  EXPECT_EQ(item.gold, 1u);
  EXPECT_EQ(item.contexts.size(), 1u);  // it does not depend on the choice
  ItemOptions two;
  two.shots = 2;
  EXPECT_EQ(Items(kSst2, two).items[0].shots->Prompt(2), "H good: positive || bad: negative || ");
}

TEST_F(Tasks, TheFilesThatAreReadAreKnownBefore) {
  const auto roles_of = [](const InputSet& inputs) {
    std::vector<std::string> roles;
    for (const InputFile& file : inputs.files()) roles.push_back(file.role);
    return roles;
  };
  const std::filesystem::path file = folder_ / "t.yaml";
  WriteFileAtomically(file, kSst2);
  const Task task = FindTask(file.string());
  ItemOptions options;
  EXPECT_THAT(roles_of(TaskInputs(task, options, folder_)),
              ElementsAre("tasks/t.yaml", "datasets/sst2.yaml", "glue-sst2/dev.tsv",
                          "glue-sst2/train.tsv"));
  EXPECT_EQ(roles_of(MakeItems(task, options, folder_).inputs),
            roles_of(TaskInputs(task, options, folder_)));
  options.shots = 0;
  EXPECT_THAT(roles_of(TaskInputs(task, options, folder_)),
              ElementsAre("tasks/t.yaml", "datasets/sst2.yaml", "glue-sst2/dev.tsv"));
  EXPECT_EQ(roles_of(MakeItems(task, options, folder_).inputs),
            roles_of(TaskInputs(task, options, folder_)));
  EXPECT_FALSE(FindTask("boolq").inputs.Find("tasks/boolq.yaml")->hash.empty());
}

// As far as their rows are here: from headers that are files, in several formats and subsets.
TEST_F(Tasks, ThoseThatShipReadWhatIsKnownBefore) {
  const std::filesystem::path rows = testing::SourceRoot() / "tests" / "data" / "rows";
  size_t tasks = 0, with_headers = 0;
  for (const std::string& name : TaskNames()) {
    const Task task = FindTask(name);
    ItemOptions options;
    if (!MissingTaskFile(task, options, rows).empty()) continue;
    options.limit = 2;
    InputSet opened = MakeItems(task, options, rows).inputs;
    InputSet planned = TaskInputs(task, options, rows);
    EXPECT_EQ(planned.FirstOther(opened), nullptr) << name;
    ++tasks;
    if (task.has_header_file) ++with_headers;
  }
  EXPECT_GE(tasks, 20U);
  EXPECT_GE(with_headers, 1U);
}

// A second file with a line for each row, and pieces in a folder that has other files of tokenizers
// as well.
TEST_F(Tasks, BleuOverPiecesReadsWhatIsKnownBefore) {
  const std::filesystem::path demo = testing::SourceRoot() / "demo/model";
  const std::filesystem::path flores = folder_ / "flores";
  std::filesystem::create_directories(flores);
  WriteFileAtomically(flores / "devtest.zhen.test.en.txt", "one\ntwo\n");
  WriteFileAtomically(flores / "devtest.zhen.test.zh.txt", "yi\ner\n");
  std::filesystem::copy(demo / "tokenizer.model",
                        flores / "flores200_sacrebleu_tokenizer_spm.model");
  std::filesystem::copy(demo / "tokenizer_config.json", flores / "tokenizer_config.json");

  const Task task = FindTask("flores-en-zh-spm");
  const Model model = LoadModel(demo, {}, context_);
  TaskRunOptions options;
  options.data_folder = folder_;
  InputSet opened = RunTask(task, model, model.Hash(), options, context_).asked.inputs;
  InputSet planned = TaskInputs(task, options.items, folder_);
  EXPECT_EQ(planned.FirstOther(opened), nullptr);
  EXPECT_EQ(opened.FirstOther(planned), nullptr);
}

TEST_F(Tasks, AChoiceMayStandInTheContext) {
  const TaskItems made = Items(
      Replaced(Replaced(kSst2, "{sentence}:", "{choice}:"), "\" {choice}\"", "\" {sentence}\""));
  EXPECT_THAT(made.items[0].contexts, ElementsAre("negative:", "positive:"));
  EXPECT_THAT(made.items[0].continuations, ElementsAre(" so so", " so so"));
}

TEST_F(Tasks, ChoicesMayStandInOneText) {
  WriteFileAtomically(folder_ / "glue-sst2/dev.tsv", "a; b c;d\t0\n");
  const std::string yaml =
      Replaced(kSst2, "[negative, positive]",
               R"({each: sentence, split: ";", first: "x{label}", text: "{it}"})");
  EXPECT_THAT(Items(Replaced(yaml, "default: 1", "default: 0")).items[0].choices,
              ElementsAre("x0", "a", "b c", "d"));
}

TEST_F(Tasks, ALimitDrawsTheSameRowsAndSaysPartial) {
  ItemOptions options;
  options.limit = 2;
  const TaskItems one = Items(kSst2, options), two = Items(kSst2, options);
  ASSERT_EQ(one.items.size(), 2u);
  EXPECT_TRUE(one.is_partial);
  EXPECT_EQ(one.rows_in_split, 4u);
  EXPECT_LT(one.items[0].row, one.items[1].row);
  EXPECT_EQ(one.items[0].row, two.items[0].row);
  options.limit = 9;
  EXPECT_FALSE(Items(kSst2, options).is_partial);
}

TEST_F(Tasks, SampledShotsFollowTheSeed) {
  const std::string sampled = Replaced(kSst2, "default: 1", "default: 2, choose: sampled");
  std::vector<std::string> prompts;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    ItemOptions options;
    options.fewshot_seed = seed;
    prompts.push_back(Items(sampled, options).items[0].shots->Prompt(2));
    EXPECT_EQ(prompts.back(), Items(sampled, options).items[3].shots->Prompt(2));
  }
  EXPECT_GT(std::set<std::string>(prompts.begin(), prompts.end()).size(), 1u);
}

TEST_F(Tasks, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "split: train", "split: dev")); }),
              HasSubstr("leakage"));
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "default: 1", "default: 4")); }),
              HasSubstr("at most 3"));
  EXPECT_THAT(ErrorOf([&] {
                Items(Replaced(kSst2, "split: dev}", "split: dev, where: \"{label|only:9}\"}"));
              }),
              HasSubstr("[sst2:dev] expected a row that the task asks"));
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "[negative, positive]", "{each: x}")); }),
              HasSubstr("'text'"));
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "{label}", "{lable}")); }),
              HasSubstr("did you mean 'label'"));
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "set: sst2", "set: sst3")); }),
              HasSubstr("did you mean 'sst2'"));
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "split: dev", "split: dve")); }),
              HasSubstr("did you mean 'dev'"));
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "acc_norm", "acc_nrom")); }),
              HasSubstr("did you mean 'acc_norm'"));
  EXPECT_THAT(ErrorOf([&] { Items(Replaced(kSst2, "metrics:", "metric:")); }),
              HasSubstr("t.yaml:12"));
  WriteFileAtomically(folder_ / "glue-sst2/dev.tsv", "so so\t7\n");
  EXPECT_THAT(ErrorOf([&] { Items(kSst2); }),
              HasSubstr("[sst2:dev row 0] expected an answer among 2 choices; got '7'"));
  std::filesystem::remove(folder_ / "glue-sst2/dev.tsv");
  EXPECT_THAT(ErrorOf([&] { Items(kSst2); }), HasSubstr("glue-sst2/dev.tsv; got none"));
}

TEST_F(Tasks, ScoresAreThoseOfTheAnswers) {
  ResultStore store(folder_ / "r.db");
  const TaskOutcome result = Run(kSst2, &store);
  ASSERT_EQ(result.scores[0].metric, "acc");
  EXPECT_EQ(result.scores[0].n, 4u);
  EXPECT_EQ(result.scores[0].baseline, 0.5);
  EXPECT_FALSE(result.scores[0].is_partial);
  size_t right = 0;
  const StoredEvaluation evaluation = store.Evaluations().at(0);
  EXPECT_TRUE(evaluation.is_finished);
  for (const StoredItem& item : store.Items(evaluation.id)) {
    const auto requests = store.Requests(evaluation.id, item.item, evaluation.key.model, 1);
    ASSERT_EQ(requests.size(), 2u);
    const int64_t best =
        requests[1].answer.log_likelihood > requests[0].answer.log_likelihood ? 1 : 0;
    EXPECT_EQ(item.picked, best);
    EXPECT_EQ(item.is_correct, best == item.gold);
    right += item.is_correct ? 1 : 0;
  }
  EXPECT_EQ(result.scores[0].estimate.value, static_cast<double>(right) / 4);
}

TEST_F(Tasks, AnswersComeFromTheStoreTheSecondTime) {
  ResultStore store(folder_ / "r.db");
  const TaskOutcome part = Run(kSst2, &store, 2), whole = Run(kSst2, &store);
  EXPECT_EQ(part.answers_found, 0u);
  EXPECT_TRUE(part.scores[0].is_partial);
  EXPECT_GT(whole.answers_found, 0u);
  const TaskOutcome again = Run(kSst2, &store);
  EXPECT_EQ(again.counts.computed_tokens, 0u);
  const TaskOutcome fresh = Run(kSst2);
  for (size_t i = 0; i < fresh.scores.size(); ++i) {
    EXPECT_EQ(again.scores[i].estimate.value, fresh.scores[i].estimate.value);
  }
}

// The last evaluation of the model in the store is another one.
TEST_F(Tasks, FilesThatAreRefusedAreNotScored) {
  const Model model = LoadModel(testing::SourceRoot() / "demo/model", {}, context_);
  ResultStore store(folder_ / "results.db");
  TaskRunOptions options;
  options.data_folder = folder_;
  options.store = &store;
  options.on_inputs = [](InputSet& opened) {
    EXPECT_NE(opened.Find("glue-sst2/dev.tsv"), nullptr);
    ThrowFailed("t", "another file");
  };
  EXPECT_THAT(ErrorOf([&] {
                (void)RunTask(ParseTask(kSst2, "t.yaml"), model, model.Hash(), options, context_);
              }),
              HasSubstr("another file"));
  EXPECT_TRUE(store.Evaluations().empty());
}

TEST_F(Tasks, AnOutcomeIsWhatItsOwnEvaluationKept) {
  ResultStore store(folder_ / "r.db");
  const TaskOutcome whole = Run(kSst2, &store), part = Run(kSst2, &store, 2);
  const TaskOutcome again = Run(kSst2, &store), fresh = Run(kSst2);
  ASSERT_TRUE(again.evaluation.has_value());
  EXPECT_NE(again.evaluation, part.evaluation);
  EXPECT_EQ(again.evaluation, whole.evaluation);
  EXPECT_FALSE(fresh.evaluation.has_value());
  EXPECT_EQ(fresh.key, again.key);

  const std::vector<StoredItem> kept = store.Items(*again.evaluation);
  ASSERT_EQ(kept.size(), again.items.size());
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i].row, again.asked.items[i].row);
    EXPECT_EQ(kept[i].picked, again.items[i].picked);
    EXPECT_EQ(kept[i].gold, again.items[i].gold);
    EXPECT_EQ(kept[i].is_correct, again.items[i].is_right);
    EXPECT_EQ(again.items[i].choices, fresh.items[i].choices);
    for (size_t c = 0; c < 2; ++c) {
      EXPECT_EQ(store.Requests(*again.evaluation, i, again.key.model, 1)[c].answer.log_likelihood,
                again.items[i].choices[c]);
    }
  }
}

TEST_F(Tasks, OutcomesAreComparedAsTheStoreComparesThem) {
  ResultStore store(folder_ / "r.db");
  const TaskOutcome first = Run(kSst2, &store);
  TaskOutcome second = Run(kSst2, &store, 0, testing::SourceRoot() / "demo/model", "another hash");
  const std::optional<TaskComparison> now = CompareOutcomes(first, second);
  ASSERT_TRUE(now.has_value());
  const std::vector<TaskComparison> stored = CompareModels(store, first.key.model, "another hash");
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].key, now->key);
  EXPECT_EQ(stored[0].paired.first, now->paired.first);
  EXPECT_EQ(stored[0].paired.choice_kl.value, 0);
  EXPECT_EQ(now->paired.choice_kl.value, 0);

  second.key.prompt_hash += "0";
  EXPECT_FALSE(CompareOutcomes(first, second).has_value());
}

TEST_F(Tasks, OverlongPromptsLoseShotsThenTokensAndAreCounted) {
  std::string words;
  for (int i = 0; i < 700; ++i) words += "word and another ";
  WriteFileAtomically(folder_ / "glue-sst2/train.tsv", words + "\t1\nbad\t0\n");
  WriteFileAtomically(folder_ / "glue-sst2/dev.tsv", "nice\t1\n" + words + "\t0\n");
  const TaskOutcome result = Run(kSst2);
  EXPECT_EQ(result.prompts_with_fewer_shots, 2u);
  EXPECT_EQ(result.prompts_truncated, 1u);
}

TEST_F(Tasks, SubsetsHaveScoresAMeanAndCategories) {
  WriteFileAtomically(folder_ / "mmlu/test/anatomy_test.csv", "q?,a,b,c,d,A\nr?,a,b,c,d,B\n");
  WriteFileAtomically(folder_ / "mmlu/test/virology_test.csv", "s?,a,b,c,d,C\n");
  const std::string yaml = R"(
name: two
title: t
data:
  set: mmlu
  split: test
  subsets: [anatomy, virology]
  categories: {body: [anatomy], germs: [virology]}
  subset_names: {virology: the study of viruses}
header: "{subset_name|spaces}\n"
context: "{question}{for c in choices}\n{letter}. {c}{end}\nAnswer:"
continuation: " {letter}"
choices: ["{A}", "{B}", "{C}", "{D}"]
answer: {is: letter, value: "{answer}"}
metrics: [acc]
)";
  const TaskItems made = Items(yaml);
  EXPECT_EQ(made.items[2].shots->Prompt(0) + made.items[2].ContextOf(0),
            "the study of viruses\ns?\nA. a\nB. b\nC. c\nD. d\nAnswer:");
  const TaskOutcome result = Run(yaml);
  std::map<std::string, TaskScore> scores;
  for (const TaskScore& score : result.scores) scores[score.part + "/" + score.metric] = score;
  ASSERT_TRUE(scores.contains("/acc_macro"));
  EXPECT_EQ(scores["category body/acc"].n, 2u);
  EXPECT_EQ(scores["subset virology/acc"].n, 1u);
  EXPECT_DOUBLE_EQ(
      scores["/acc_macro"].estimate.value,
      (scores["subset anatomy/acc"].estimate.value + scores["subset virology/acc"].estimate.value) /
          2);
}

TEST_F(Tasks, EveryTaskFileReads) {
  for (const std::string& name : TaskNames()) {
    const Task task = FindTask(name);
    EXPECT_EQ(task.name, name);
    EXPECT_FALSE(task.harness.empty()) << name;
  }
  for (const TaskGroup& group : AllTaskGroups()) {
    for (const std::string& task : group.tasks) EXPECT_EQ(FindTask(task).name, task);
  }
}

}  // namespace
}  // namespace qualm
