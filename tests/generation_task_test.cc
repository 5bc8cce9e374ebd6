// Generation tasks from YAML to scores, on the embedded demo model and made-up rows.
#include <gmock/gmock.h>

#include <cmath>

#include "base/file.h"
#include "chat/chat_template.h"
#include "evaluate/comparison.h"
#include "evaluate/generation_run.h"
#include "metrics/python_sandbox.h"
#include "metrics/text_metrics.h"
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

constexpr const char* kTask = R"(
name: tiny
title: t
version: 2
kind: generation
data: {set: gsm8k, split: test}
shots: {split: train, default: 2, separator: "\n"}
context: "Q {question} A"
generate: {max_tokens: 12, stop: ["\n"]}
prediction: "{generated|strip} of {question}"
references: {each: answers, text: "{it}", first: "{best}"}
metrics: [squad_f1, exact_match, bleu]
)";

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

class GenerationTasks : public ::testing::Test {
 protected:
  GenerationTasks()
      : context_(2), model_(LoadModel(testing::SourceRoot() / "demo/model", {}, context_)) {}

  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("qualm_gen_") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "gsm8k");
    const auto row = [](int i) {
      const std::string n = std::to_string(i);
      return "{\"question\": \"q" + n + "\", \"best\": \"b" + n +
             "\", \"answers\": [\"a\", \"of q" + n + "\"]}\n";
    };
    WriteFileAtomically(folder_ / "gsm8k/train.jsonl", row(1) + row(2) + row(3));
    WriteFileAtomically(folder_ / "gsm8k/test.jsonl", row(4) + row(5) + row(6) + row(7));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  TaskRunOptions Options(ResultStore* store = nullptr) const {
    TaskRunOptions options;
    options.data_folder = folder_;
    options.store = store;
    return options;
  }
  TaskOutcome Run(const std::string& yaml, const TaskRunOptions& options) {
    Task task = ParseTask(yaml, "t.yaml");
    task.variant = options.style.Variant();
    return RunTask(task, model_, model_.Hash(), options, context_);
  }
  std::string Refusal(const std::string& yaml) {
    return ErrorOf([&] { (void)ParseTask(yaml, "t.yaml"); });
  }

  testing::TestContext context_;
  Model model_;
  std::filesystem::path folder_;
};

// Two readings of the same texts: scores, what the store keeps, and the names of the rows.
TEST_F(GenerationTasks, EachFilterHasItsRows) {
  const std::string filters =
      "filters:\n"
      "  whole: [{function: template, text: \"{generated|strip} of {question}\"}]\n"
      "  constant: [{function: map, default_value: b4}, {function: take_first}]\n";
  const std::string yaml =
      Replaced(Replaced(kTask, "prediction: \"{generated|strip} of {question}\"\n", filters),
               "[squad_f1, exact_match, bleu]", "[exact_match, squad_f1]");
  ResultStore store(folder_ / "results.db");
  const TaskOutcome two = Run(yaml, Options(&store));
  std::vector<std::string> names;
  for (const TaskScore& score : two.scores) {
    names.push_back(score.metric + " by " + score.filter);
  }
  EXPECT_THAT(names,
              ElementsAre("exact_match by whole", "squad_f1 by whole",
                          "exact_match,constant by constant", "squad_f1,constant by constant"));
  EXPECT_EQ(two.scores[2].estimate.value, 0.25);  // "b4" is a reference of one row of four

  // A task with the first filter only has the same first rows, without a filter's name.
  const std::string constant =
      "  constant: [{function: map, default_value: b4}, {function: take_first}]\n";
  const TaskOutcome one = Run(Replaced(yaml, constant, ""), Options());
  ASSERT_EQ(one.scores.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(one.scores[i].metric, two.scores[i].metric);
    EXPECT_EQ(one.scores[i].estimate.value, two.scores[i].estimate.value);
    EXPECT_EQ(one.scores[i].filter, "");
  }

  const int64_t evaluation = store.Evaluations()[0].id;
  EXPECT_THAT(store.Items(evaluation)[0].prediction, HasSubstr(" of q4"));
  const std::vector<StoredReading> readings = store.Readings(evaluation, 0);
  ASSERT_EQ(readings.size(), 1u);
  EXPECT_EQ(readings[0].filter, "constant");
  EXPECT_EQ(readings[0].prediction, "b4");
  EXPECT_EQ(readings[0].value, 1);
  EXPECT_EQ(store.Readings(evaluation, 1)[0].value, 0);
}

TEST_F(GenerationTasks, SamplesThatAFilterTakesAwayAreMissed) {
  const std::string yaml = Replaced(
      Replaced(kTask, "max_tokens: 12", "max_tokens: 2, samples: 10, temperature: 1"),
      "prediction: \"{generated|strip} of {question}\"", "filters: {f: [{function: take_first}]}");
  TaskRunOptions options = Options();
  options.run_code = true;
  try {
    (void)RunsToItsEnd("");
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_THAT(
      ErrorOf([&] { Run(Replaced(yaml, "[squad_f1, exact_match, bleu]", "[pass@10]"), options); }),
      HasSubstr("row 0] expected 10 texts after the filters for pass@10; got 1"));
}

TEST_F(GenerationTasks, ItemsHaveReferencesAndShotsTheFirstOfThem) {
  const TaskItems made = MakeItems(ParseTask(kTask, "t.yaml"), {}, folder_);
  ASSERT_EQ(made.items.size(), 4u);
  EXPECT_THAT(made.items[0].choices, ElementsAre("b4", "a", "of q4"));
  EXPECT_EQ(made.items[0].shots->Prompt(2) + made.items[0].ContextOf(0),
            "Q q1 A b1\nQ q2 A b2\nQ q4 A");
}

TEST_F(GenerationTasks, FilesThatAreMissingAreKnownBeforeAnyWork) {
  const auto missing = [&](const std::string& yaml, std::optional<size_t> shots = {}) {
    ItemOptions options;
    options.shots = shots;
    const std::string path = MissingTaskFile(ParseTask(yaml, "t.yaml"), options, folder_);
    return path.empty() ? "" : std::filesystem::relative(path, folder_).string();
  };
  EXPECT_EQ(missing(kTask), "");
  EXPECT_EQ(missing(Replaced(kTask, "context:", "header: {file: h/x.txt}\ncontext:")), "h/x.txt");
  EXPECT_EQ(missing(Replaced(kTask, "max_tokens: 12", "bleu: spm, bleu_pieces: p.model")),
            "p.model");
  std::filesystem::remove(folder_ / "gsm8k/train.jsonl");
  EXPECT_EQ(missing(kTask), "gsm8k/train.jsonl");
  EXPECT_EQ(missing(kTask, 0), "");  // no shots, no examples
}

TEST_F(GenerationTasks, AHeaderMayBeAFile) {
  std::filesystem::create_directories(folder_ / "h");
  WriteFileAtomically(folder_ / "h/x.txt", "canary\n---\nThink.\n");
  const std::string yaml =
      Replaced(kTask, "context:", "header: {file: h/x.txt, after: \"---\\n\"}\ncontext:");
  EXPECT_EQ(MakeItems(ParseTask(yaml, "t.yaml"), {}, folder_).items[0].shots->Prompt(0),
            "Think.\n");
  EXPECT_THAT(ErrorOf([&] {
                (void)MakeItems(ParseTask(Replaced(yaml, "---\\n", "+++"), "t.yaml"), {}, folder_);
              }),
              HasSubstr("expected '+++'"));
}

TEST_F(GenerationTasks, ScoresAreThoseOfTheTexts) {
  ResultStore store(folder_ / "results.db");
  const TaskOutcome result = Run(kTask, Options(&store));
  ASSERT_EQ(result.scores.size(), 3u);
  EXPECT_THAT(result.signatures, ElementsAre("bleu nrefs:3|case:mixed|eff:no|tok:13a|smooth:exp|"
                                             "by:qualm"));
  // The same by hand: the texts from the generator, what is read off them, the best reference.
  const TaskItems made = MakeItems(ParseTask(kTask, "t.yaml"), {}, folder_);
  const auto evaluations = store.Evaluations();
  ASSERT_EQ(evaluations.size(), 1u);
  const std::vector<StoredItem> items = store.Items(evaluations[0].id);
  double sum = 0;
  for (size_t i = 0; i < made.items.size(); ++i) {
    GenerationRequest request;
    request.tokens = EncodeGenerationPrompt(
        *model_.tokenizer, made.items[i].shots->Prompt(2) + made.items[i].ContextOf(0));
    request.max_tokens = 12;
    request.stop = {"\n"};
    std::string text;
    (void)GenerateTexts(*model_.decoder, *model_.tokenizer, {&request, 1}, {}, context_,
                        [&](auto, const GenerationAnswer& answer) { text = answer.text; });
    const size_t begin = std::min(text.find_first_not_of(' '), text.size());
    const std::string prediction = text.substr(begin, text.find_last_not_of(' ') + 1 - begin) +
                                   " of q" + std::to_string(i + 4);
    EXPECT_EQ(items[i].prediction, prediction);
    double best = 0;
    for (const std::string& reference : made.items[i].choices) {
      best = std::max(best, WordF1(prediction, reference));
    }
    EXPECT_DOUBLE_EQ(items[i].value, best);
    sum += best;
  }
  EXPECT_EQ(result.scores[0].metric, "squad_f1");
  EXPECT_DOUBLE_EQ(result.scores[0].estimate.value, sum / 4);
  EXPECT_GT(sum, 0);
  EXPECT_FALSE(result.scores[2].is_share);
}

TEST_F(GenerationTasks, TextsComeFromTheStoreTheSecondTime) {
  ResultStore store(folder_ / "results.db");
  const TaskOutcome first = Run(kTask, Options(&store));
  EXPECT_EQ(first.answers_found, 0u);
  const TaskOutcome second = Run(kTask, Options(&store));
  EXPECT_EQ(second.answers_found, 4u);
  EXPECT_EQ(second.generated.passes, 0u);
  ASSERT_EQ(second.texts.size(), 4u);
  for (size_t i = 0; i < second.texts.size(); ++i) {
    EXPECT_EQ(second.texts[i].answer.text, first.texts[i].answer.text);
    EXPECT_EQ(second.texts[i].answer.reason, first.texts[i].answer.reason);
    EXPECT_EQ(second.items[i].prediction, first.items[i].prediction);
  }
  for (size_t i = 0; i < first.scores.size(); ++i) {
    EXPECT_EQ(second.scores[i].estimate.value, first.scores[i].estimate.value);
  }
  // Another prompt, another length or another stop string is another text.
  for (const char* change : {"max_tokens: 13", "max_tokens: 12, temperature: 0.5"}) {
    EXPECT_EQ(Run(Replaced(kTask, "max_tokens: 12", change), Options(&store)).answers_found, 0u);
  }
}

TEST_F(GenerationTasks, PromptsLeaveRoomForTheText) {
  const size_t context = model_.decoder->plan.context;
  TaskRunOptions options = Options();
  const TaskOutcome result =
      Run(Replaced(kTask, "max_tokens: 12", "max_tokens: " + std::to_string(context)), options);
  EXPECT_EQ(result.texts_shortened, 4u);
  const TaskOutcome longer = Run(
      Replaced(kTask, "\"Q {question} A\"", "\"" + std::string(6 * context, 'x') + " {question}\""),
      options);
  EXPECT_EQ(longer.prompts_with_fewer_shots, 4u);
  EXPECT_EQ(longer.prompts_truncated, 4u);
}

TEST_F(GenerationTasks, AConversationIsAResultOfItsOwn) {
  ResultStore store(folder_ / "results.db");
  (void)Run(kTask, Options(&store));
  const ChatTemplate chat = FindChatTemplate("chatml", folder_);
  TaskRunOptions options = Options(&store);
  options.style.chat = &chat;
  const TaskOutcome result = Run(kTask, options);
  EXPECT_EQ(result.scores[0].task, "tiny@chatml");
  EXPECT_EQ(result.answers_found, 0u);
  const auto evaluations = store.Evaluations();
  ASSERT_EQ(evaluations.size(), 2u);
  EXPECT_THAT(store.Requests(evaluations[1].id, 0, model_.Hash(), kGenerationProtocol)[0].context,
              HasSubstr("Q q4 A<|im_end|>\n<|im_start|>assistant\n"));
}

TEST_F(GenerationTasks, ProgramsRunOnlyWhenAllowed) {
  const auto program = [](const char* text) {
    return Replaced(Replaced(kTask, "{generated|strip} of {question}", text),
                    "[squad_f1, exact_match, bleu]", "[\"pass@1\"]");
  };
  TaskRunOptions options = Options();
  EXPECT_THAT(ErrorOf([&] { (void)Run(program("assert True"), options); }),
              HasSubstr("--run-code"));
  try {
    (void)RunsToItsEnd("");
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  options.run_code = true;
  EXPECT_EQ(Run(program("assert True"), options).scores[0].estimate.value, 1);
  EXPECT_EQ(Run(program("assert '{question}' != 'q5'"), options).scores[0].estimate.value, 0.75);
}

TEST_F(GenerationTasks, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(Refusal(Replaced(kTask, "max_tokens: 12", "samples: 3")),
              HasSubstr("a temperature above 0"));
  EXPECT_THAT(Refusal(Replaced(kTask, "max_tokens: 12", "bleu: spm")), HasSubstr("bleu_pieces"));
  EXPECT_THAT(Refusal(Replaced(kTask, "[\"\\n\"]", "[\"\"]")), HasSubstr("an empty one"));
  EXPECT_THAT(Refusal(Replaced(kTask, "squad_f1", "squad_f2")), HasSubstr("did you mean"));
  EXPECT_THAT(Refusal(Replaced(kTask, "references: {each", "choices: {each")),
              HasSubstr("no 'choices' in a generation task"));
  EXPECT_THAT(Refusal(Replaced(kTask, "kind: generation\n", "")),
              HasSubstr("no 'generate' in a multiple_choice task"));
  EXPECT_THAT(ErrorOf([&] {
                (void)Run(Replaced(Replaced(kTask, "max_tokens: 12",
                                            "max_tokens: 12, samples: 2, temperature: 1"),
                                   "[squad_f1, exact_match, bleu]", "[\"pass@10\"]"),
                          Options());
              }),
              HasSubstr("10 samples for pass@10"));
}

TEST(GenerationEstimate, LevelsInARowByHand) {
  const TextMetric& csl = *FindTextMetric("csl");
  // Group a follows 1, 2 and 4: two in a row. Group b fails at once.
  const std::vector<std::vector<double>> counts = {{1, 1}, {2, 1}, {3, 0}, {4, 1}, {1, 0}, {2, 1}};
  const std::vector<std::string> groups = {"a", "a", "a", "a", "b", "b"};
  const Estimate estimate = EstimateOf(csl, counts, groups);
  EXPECT_DOUBLE_EQ(estimate.value, 1);
  EXPECT_DOUBLE_EQ(estimate.standard_error, 1);  // of 2 and 0
}

TEST(GenerationEstimate, NoneAndOneRow) {
  const TextMetric &bleu = *FindTextMetric("bleu"), &match = *FindTextMetric("exact_match");
  EXPECT_TRUE(std::isnan(EstimateOf(bleu, {}).value));
  EXPECT_TRUE(std::isnan(EstimateOf(match, {}).value));
  const std::vector<std::string> reference = {"a b c d e"};
  const std::vector<std::vector<double>> one = {bleu.count("a b c d e", reference, {})};
  EXPECT_DOUBLE_EQ(EstimateOf(bleu, one).value, 100);
  EXPECT_TRUE(std::isnan(EstimateOf(bleu, one).standard_error));
  const std::vector<std::vector<double>> two = {one[0], bleu.count("x y", reference, {})};
  EXPECT_GT(EstimateOf(bleu, two).standard_error, 0);
  EXPECT_EQ(EstimateOf(bleu, two).standard_error, EstimateOf(bleu, two).standard_error);
}

}  // namespace
}  // namespace qualm
