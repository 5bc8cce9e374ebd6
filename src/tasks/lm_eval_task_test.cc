// Task files of lm-evaluation-harness: what is read, what is refused, and the joints between the
// parts that the golden files do not show. Expected values were looked up in lm_eval 0.4.13.
#include "tasks/lm_eval_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/strings.h"
#include "support/errors.h"
#include "support/temporary_folder.h"
#include "tasks/items.h"
#include "tasks/prompt.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ItemOptions WithShots(size_t count) {
  ItemOptions options;
  options.shots = count;
  return options;
}

class LmEvalTask : public ::testing::Test {
 protected:
  void SetUp() override {
    Write("test.jsonl",
          "{\"q\": \"one?\", \"opts\": [\"a\", \"b\"], \"gold\": 1}\n"
          "{\"q\": \"two?\", \"opts\": [\"c\", \"d\"], \"gold\": 0}\n");
    Write("train.jsonl",
          "{\"q\": \"x?\", \"opts\": [\"e\", \"f\"], \"gold\": 0}\n"
          "{\"q\": \"one?\", \"opts\": [\"a\", \"b\"], \"gold\": 1}\n"
          "{\"q\": \"y?\", \"opts\": [\"g\", \"h\"], \"gold\": 1}\n");
  }

  std::string Write(const std::string& name, const std::string& text) {
    WriteFileAtomically(folder_ / name, text);
    return (folder_ / name).string();
  }

  // A task of the two files; `more` are further lines.
  Task Read(const std::string& more) {
    return FindTask(
        Write("task.yaml",
              StrCat("task: t\ndataset_path: json\n"
                     "dataset_kwargs: {data_files: {test: test.jsonl, train: train.jsonl}}\n",
                     more)));
  }
  static std::string Choices() {
    return "output_type: multiple_choice\ndoc_to_text: \"{{q}}\"\ndoc_to_choice: opts\n"
           "doc_to_target: gold\n";
  }
  std::string MessageOf(const std::string& more) {
    return testing::ErrorOf([&] { (void)Read(more); });
  }

  testing::TemporaryFolder folder_;
};

TEST_F(LmEvalTask, KeysHaveTheirMeaning) {
  const Task task = Read(Choices() +
                         "test_split: test\nfewshot_split: train\nnum_fewshot: 2\n"
                         "metadata: {version: 3.0}\nmetric_list: [{metric: acc}, "
                         "{metric: acc_mutual_info, aggregation: mean}]\n");
  EXPECT_EQ(task.name, "t");
  EXPECT_EQ(task.version, 3);
  EXPECT_EQ(task.default_shots, 2u);
  EXPECT_EQ(task.default_fewshot_seed, 1234u);
  EXPECT_EQ(task.split, "test");
  EXPECT_EQ(task.shot_split, "train");
  EXPECT_THAT(task.metrics, ElementsAre("acc", "acc_pmi"));

  const TaskItems made = MakeItems(task, WithShots(0), "");
  ASSERT_EQ(made.items.size(), 2u);
  EXPECT_THAT(made.items[0].continuations, ElementsAre(" a", " b"));
  EXPECT_EQ(made.items[0].gold, 1u);
}

// normalize_gen_kwargs of the harness: a temperature without do_sample asks for drawn texts.
TEST_F(LmEvalTask, ATemperatureAloneDraws) {
  const auto read = [&](const std::string& options) {
    return Read(StrCat("output_type: generate_until\ndoc_to_text: \"{{q}}\"\ndoc_to_target: \"x\"\n"
                       "test_split: test\nrepeats: 2\ngeneration_kwargs: {until: [\"z\"], ",
                       options, "}\n"))
        .generation;
  };
  EXPECT_EQ(read("temperature: 0.7").temperature, 0.7);
  EXPECT_EQ(read("temperature: 0.7").samples, 2u);
  EXPECT_EQ(read("do_sample: false, temperature: 0.7").temperature, 0.0);
  EXPECT_EQ(read("temperature: 0.0").samples, 1u);
  EXPECT_EQ(read("do_sample: true").temperature, 1.0);
}

// ContextSampler draws one row more and leaves out the scored one where the file names neither a
// split of examples nor a test split; random.Random(1234).sample(range(3), 2) is [2, 0], then [0,
// 1].
TEST_F(LmEvalTask, TheScoredRowIsNoExampleOfItself) {
  const Task task = Read(Choices() + "validation_split: test\ntraining_split: train\n");
  const TaskItems made = MakeItems(task, WithShots(2), "");
  EXPECT_THAT(made.items[0].shots->rows, ElementsAre(0, 2));  // row 1 is the scored one
  EXPECT_THAT(made.items[1].shots->rows, ElementsAre(0, 2));

  const Task named = Read(Choices() + "test_split: test\nfewshot_split: train\n");
  const TaskItems drawn = MakeItems(named, WithShots(2), "");
  EXPECT_THAT(drawn.items[0].shots->rows, ElementsAre(1, 0));
  EXPECT_THAT(drawn.items[1].shots->rows, ElementsAre(0, 2));
}

TEST_F(LmEvalTask, MoreExamplesThanRowsAreAnError) {
  const Task task = Read(Choices() + "test_split: test\nfewshot_split: train\n");
  EXPECT_THAT(testing::ErrorOf([&] { (void)MakeItems(task, WithShots(4), ""); }),
              HasSubstr("[--shots] expected at most 3"));
}

TEST_F(LmEvalTask, SplitsCanBeNamedAndCut) {
  const Task task = Read(Choices() + "test_split: test\nfewshot_split: train\n");
  ItemOptions options;
  options.shots = 1;
  options.shot_split = "train[:1]";
  const TaskItems made = MakeItems(task, options, "");
  EXPECT_THAT(made.items[0].shots->rows, ElementsAre(0));
  EXPECT_THAT(made.items[1].shots->rows, ElementsAre(0));

  options.split = "train";
  options.shots = 0;
  EXPECT_EQ(MakeItems(task, options, "").items.size(), 3u);
  options.split = "train[:x]";
  EXPECT_THAT(testing::ErrorOf([&] { (void)MakeItems(task, options, ""); }),
              HasSubstr("SPLIT[:N]; got 'train[:x]'"));
  options.split = "nowhere";
  EXPECT_THAT(testing::ErrorOf([&] { (void)MakeItems(task, options, ""); }), HasSubstr("nowhere"));
}

// The columns of a table are numbers where pandas would read numbers, so a column may be a choice's
// number.
TEST_F(LmEvalTask, ColumnsOfTablesHaveTypes) {
  Write("rows.csv", "q,gold,id\nfirst,1,007\nsecond,0,x\n");
  const Task task = FindTask(Write("csv.yaml",
                                   "task: c\ndataset_path: csv\n"
                                   "dataset_kwargs: {data_files: {test: rows.csv}}\n"
                                   "test_split: test\noutput_type: multiple_choice\n"
                                   "doc_to_text: \"{{q}} {{id}}\"\ndoc_to_choice: [no, yes]\n"
                                   "doc_to_target: gold\n"));
  const TaskItems made = MakeItems(task, {}, "");
  EXPECT_EQ(made.items[0].gold, 1u);
  EXPECT_EQ(made.items[1].gold, 0u);
  EXPECT_EQ(made.items[0].contexts[0], "first 007");
}

// A field that only some rows have is there in each of them.
TEST_F(LmEvalTask, FieldsThatAreMissingAreNone) {
  Write("holes.jsonl", "{\"q\": \"a\", \"hint\": \"h\"}\n{\"q\": \"b\"}\n");
  const Task task = FindTask(Write("holes.yaml",
                                   "task: h\ndataset_path: json\n"
                                   "dataset_kwargs: {data_files: holes.jsonl}\ntest_split: train\n"
                                   "output_type: loglikelihood\n"
                                   "doc_to_text: \"{{q}}{% if hint %} ({{hint}}){% endif %}\"\n"
                                   "doc_to_target: \" yes\"\n"));
  const TaskItems made = MakeItems(task, {}, "");
  EXPECT_EQ(made.items[0].contexts[0], "a (h)");
  EXPECT_EQ(made.items[1].contexts[0], "b");
  EXPECT_EQ(made.items[1].continuations[0], " yes");
}

TEST_F(LmEvalTask, IncludedFilesGiveWhatIsNotSaid) {
  Write("base.yaml", Choices() + "test_split: test\ntarget_delimiter: \"\"\n");
  const Task task = Read("include: base.yaml\ntarget_delimiter: \"=\"\n");
  EXPECT_THAT(MakeItems(task, {}, "").items[0].continuations, ElementsAre("=a", "=b"));

  Write("round.yaml", "include: round.yaml\ntask: r\n");
  EXPECT_THAT(testing::ErrorOf([&] { (void)FindTask((folder_ / "round.yaml").string()); }),
              HasSubstr("does a file include itself?"));
}

TEST_F(LmEvalTask, SeveralTargetsAreAllRight) {
  const Task task = Read(
      "output_type: multiple_choice\ndoc_to_text: \"{{q}}\"\ndoc_to_choice: opts\n"
      "doc_to_target: \"[0, 1]\"\ntest_split: test\n");
  const TaskItem item = MakeItems(task, {}, "").items[0];
  EXPECT_TRUE(item.IsRight(0));
  EXPECT_TRUE(item.IsRight(1));
}

TEST_F(LmEvalTask, WhatNeedsPythonIsRefusedByName) {
  EXPECT_THAT(MessageOf(Choices() + "test_split: test\nprocess_docs: !function utils.process\n"),
              HasSubstr("got !function utils.process; qualm runs no Python"));
  EXPECT_THAT(MessageOf(Choices() + "test_split: test\nprocess_results: utils.score\n"),
              HasSubstr("process_results: utils.score"));
  EXPECT_THAT(MessageOf(Choices() + "test_split: test\nmetric_list: [{metric: !function u.f}]\n"),
              HasSubstr("!function u.f"));
}

TEST_F(LmEvalTask, WhatIsNotKnownIsAnErrorWithTheNearestName) {
  EXPECT_THAT(MessageOf(Choices() + "test_split: test\ntarget_delimeter: x\n"),
              HasSubstr("did you mean 'target_delimiter'?"));
  EXPECT_THAT(MessageOf(Choices() + "test_split: tset\n"), HasSubstr("did you mean 'test'?"));
  EXPECT_THAT(MessageOf(Choices() + "test_split: test\nmetric_list: [{metric: acc_nrom}]\n"),
              HasSubstr("did you mean 'acc_norm'?"));
  EXPECT_THAT(MessageOf("test_split: test\noutput_type: multiple_choices\n"),
              HasSubstr("did you mean 'multiple_choice'?"));
  EXPECT_THAT(MessageOf(Choices()), HasSubstr("test_split or validation_split"));
  EXPECT_THAT(MessageOf(Choices() + "test_split: test\nshould_decontaminate: true\n"),
              HasSubstr("doc_to_decontamination_query"));
  EXPECT_THAT(testing::ErrorOf([&] {
                (void)FindTask(Write("hub.yaml", Choices() + "task: t\ntest_split: test\n"
                                                             "dataset_path: allenai/ai2_ark\n"));
              }),
              HasSubstr("did you mean 'allenai/ai2_arc'?"));
}

TEST_F(LmEvalTask, NumbersOutsideTheirRangeAreErrors) {
  const std::string task = Choices() + "test_split: test\nfewshot_split: train\n";
  EXPECT_THAT(MessageOf(task + "num_fewshot: -1\n"), HasSubstr("num_fewshot in 0..1000; got -1"));
  EXPECT_THAT(MessageOf(task + "num_fewshot: 1001\n"), HasSubstr("in 0..1000; got 1001"));
  EXPECT_THAT(MessageOf(task + "repeats: 0\n"), HasSubstr("repeats in 1..1000; got 0"));
}

// Also keys that the task's kind has no use for.
TEST_F(LmEvalTask, EveryKeyHasItsType) {
  const std::string task = Choices() + "test_split: test\n";
  const std::pair<const char*, const char*> kWrong[] = {
      {"repeats: x", "an integer; got 'x'"},
      {"num_fewshot: [1]", "an integer; got a list"},
      {"generation_kwargs: x", "a map; got a single value"},
      {"filter_list: x", "a list; got a single value"},
      {"metric_list: {metric: acc}", "a list; got a map"},
      {"unsafe_code: maybe", "true or false; got 'maybe'"},
      {"doc_to_decontamination_query: [q]", "a text; got a list"},
      {"metadata: x", "a map; got a single value"},
      {"generation_kwargs: {max_gen_toks: x}", "an integer; got 'x'"},
      {"tag: {a: b}", "a text; got a map"}};
  for (const auto& [line, message] : kWrong) {
    EXPECT_THAT(MessageOf(task + line + "\n"), HasSubstr(message)) << line;
  }
  EXPECT_EQ(MessageOf(task + "repeats: null\ntag: [a]\nmetadata: {version: 1}\n"), "no error");
}

// The harness's files of groups name tasks; they are not tasks.
TEST_F(LmEvalTask, GroupFilesAreRefusedWithTheirTasks) {
  const auto message = [&](const std::string& text) {
    return testing::ErrorOf([&] { (void)FindTask(Write("group.yaml", text)); });
  };
  EXPECT_THAT(message("group: g\ngroup_alias: G\ntask:\n  - a\n  - b\n"
                      "aggregate_metric_list: [{metric: acc}]\n"),
              HasSubstr("group.yaml:4] expected one task; got a group g of 2; "
                        "name the files of its tasks one by one, separated by commas: a,b"));
  EXPECT_THAT(message("group: g\ntask: [{task: inner}, {group: part, task: [c]}]\n"),
              HasSubstr("separated by commas: inner,part"));
}

// The json loader of `datasets` takes a file with `field` for one document, whatever its name is.
TEST_F(LmEvalTask, FieldNamesTheRowsOfOneDocument) {
  const auto read = [&](const std::string& file, const std::string& field) {
    return MakeItems(
        FindTask(Write("field.yaml",
                       StrCat("task: f\ndataset_path: json\ndataset_kwargs: {data_files: ", file,
                              ", field: ", field, "}\ntest_split: train\n", Choices()))),
        {}, "");
  };
  const std::string rows = "[{\"q\": \"in?\", \"opts\": [\"a\", \"b\"], \"gold\": 1}]";
  Write("one.jsonl", StrCat("{\"a.b\": ", rows, ", \"other\": []}\n"));
  EXPECT_EQ(read("one.jsonl", "a.b").items[0].contexts[0], "in?");
  EXPECT_THAT(testing::ErrorOf([&] { (void)read("one.jsonl", "c"); }),
              HasSubstr("an object with 'c'"));

  Write("lines.jsonl", StrCat("{\"data\": ", rows, "}\n{\"data\": ", rows, "}\n"));
  EXPECT_THAT(testing::ErrorOf([&] { (void)read("lines.jsonl", "data"); }),
              HasSubstr("one JSON document with 'data'; got several"));
}

// A row of the scored split among its own examples gives its answer away: ContextSampler leaves it
// out only where the file names the test split as fewshot_split.
TEST_F(LmEvalTask, RowsAmongTheirOwnExamplesAreCounted) {
  const Task only_test = Read(Choices() + "test_split: train\n");
  EXPECT_EQ(MakeItems(only_test, WithShots(3), "").own_examples, 3u);
  EXPECT_EQ(MakeItems(only_test, WithShots(0), "").own_examples, 0u);

  const Task named = Read(Choices() + "test_split: train\nfewshot_split: train\n");
  EXPECT_EQ(MakeItems(named, WithShots(2), "").own_examples, 0u);
  // A copy of a scored row in another split counts, too.
  const Task other = Read(Choices() + "test_split: test\nfewshot_split: train\n");
  EXPECT_EQ(MakeItems(other, WithShots(3), "").own_examples, 1u);
}

// A text that is scored by itself has no prompt: examples and styles do not change it.
TEST_F(LmEvalTask, RollingTextsHaveNeitherExamplesNorStyle) {
  const Task task = Read(
      "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: \"{{q}}\"\n"
      "test_split: test\nfewshot_split: train\n");
  const TaskItems made = MakeItems(task, WithShots(2), "");
  EXPECT_EQ(made.shots, 0u);
  EXPECT_THAT(made.items[0].shots->rows, ElementsAre());

  PromptStyle style;
  style.system = "Be brief.";
  EXPECT_EQ(style.For(task).Variant(), "");
  EXPECT_NE(style.For(Read(Choices() + "test_split: test\n")).Variant(), "");
}

TEST_F(LmEvalTask, AnAnswerThatIsNoChoiceIsAnError) {
  const Task task = Read(
      "output_type: multiple_choice\ndoc_to_text: \"{{q}}\"\ndoc_to_choice: opts\n"
      "doc_to_target: \"{{q}}\"\ntest_split: test\n");
  EXPECT_THAT(testing::ErrorOf([&] { (void)MakeItems(task, {}, ""); }),
              HasSubstr("got \"one?\"; choices are a | b"));
}

TEST(LmEvalTasks, OfOneSubsetHaveTheHarnesssNames) {
  const Task task = FindTask("mmlu_anatomy-lm-eval");
  EXPECT_EQ(task.name, "mmlu-lm-eval");
  EXPECT_EQ(task.variant, ":anatomy");
  EXPECT_THAT(task.subsets, ElementsAre("anatomy"));
  EXPECT_THAT(FindTask("mmlu:anatomy").subsets, ElementsAre("anatomy"));
  EXPECT_THAT(testing::ErrorOf([] { (void)FindTask("mmlu:anatomi"); }),
              HasSubstr("did you mean 'anatomy'?"));
}

// The harness's exact_match of bbh and its reading of hendrycks_math.
TEST(LmEvalTasks, AreScoredAsInTheHarness) {
  for (const char* name : {"bbh_zeroshot-lm-eval", "bbh_cot_zeroshot-lm-eval"}) {
    const GenerationSpec spec = FindTask(name).generation;
    ASSERT_TRUE(spec.exact_match) << name;
    EXPECT_EQ(ComparedText("(B), \\\"Yes\"\n.", *spec.exact_match), "(b) yes") << name;
    ASSERT_EQ(spec.filters.size(), 2u);
    EXPECT_EQ(spec.filters[1].name(), "strict-match");
  }
  const Json row = Json::object();
  const AnswerFilter strict = FindTask("bbh_cot_zeroshot-lm-eval").generation.filters[1];
  const std::vector<std::string> texts = {"So the answer is True."};
  EXPECT_THAT(strict.Predictions(texts, {row, "row"}), ElementsAre("True"));
  EXPECT_THAT(FindTask("hendrycks_math-lm-eval").metrics, ElementsAre("math_in_dollars"));
}

TEST(Prompts, ASystemTextIsJoinedOnlyWhereNoBlankIs) {
  EXPECT_EQ(JoinWithDelimiter("a", "b", "\n\n"), "a\n\nb");
  EXPECT_EQ(JoinWithDelimiter("a\n", "b", "\n\n"), "a\nb");
  EXPECT_EQ(JoinWithDelimiter("", "b", "\n\n"), "b");
  EXPECT_EQ(JoinWithDelimiter("a", "", "\n\n"), "a");
}

}  // namespace
}  // namespace qualm
