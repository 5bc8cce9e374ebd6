// Where texts end, from the files of a model's folder to scores: every id that the tokenizer,
// config.json or generation_config.json calls an end, and stop strings that are special tokens.
#include <gmock/gmock.h>

#include <fstream>

#include "base/file.h"
#include "base/strings.h"
#include "evaluate/task_run.h"
#include "generate/text_writer.h"
#include "io/json.h"
#include "model/model.h"
#include "results/store.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;

// A task whose rows are a file in the folder.
Task TaskIn(const std::filesystem::path& folder) {
  std::string text = ReadFile(folder / "task.yaml");
  const std::string_view rows = "rows.jsonl";
  text.replace(text.find(rows), rows.size(), (folder / rows).string());
  return ParseTask(text, "task.yaml");
}

TaskOutcome RunCase(const std::filesystem::path& folder, const Model& model,
                    const Context& context) {
  return RunTask(TaskIn(folder), model, model.Hash(), {}, context);
}

// Tokens of the model's own text after a prompt, as qualm generate writes it.
WrittenText WriteText(const Model& model, std::string_view prompt,
                      const std::vector<std::string>& stop, const Context& context) {
  GenerateOptions options;
  options.max_tokens = 12;
  options.ends = model.EndsOfText();
  TextWriter writer(*model.decoder, model.RequireTokenizer(), 40, context);
  return writer.Write(model.RequireTokenizer().EncodeWithSpecial(prompt), options, stop);
}

TEST(EndOfText, IsASetOfIds) {
  QUALM_SHARED_OR_SKIP(folder, "cases/01-eos-set");
  testing::TestContext context(2);
  const Model model = LoadModel(folder / "model", {}, context);
  EXPECT_THAT(model.EndsOfText(), ElementsAre(2, 263));
  const WrittenText text = WriteText(model, "Go:", {}, context);
  EXPECT_THAT(text.ids, ElementsAre(260, 261, 262));
  EXPECT_EQ(text.text, " one two three");
  EXPECT_EQ(text.reason, FinishReason::kEos);

  const TaskOutcome outcome = RunCase(folder, model, context);
  EXPECT_EQ(outcome.texts[0].answer.text, " one two three");
  EXPECT_EQ(outcome.scores[0].estimate.value, 1);
}

TEST(EndOfText, AStopStringMayBeASpecialToken) {
  QUALM_SHARED_OR_SKIP(folder, "cases/02-stop-is-special-token");
  testing::TestContext context(2);
  const Model model = LoadModel(folder / "model", {}, context);
  const WrittenText text = WriteText(model, "Go:", {"<|turn|>"}, context);
  EXPECT_EQ(text.text, " one");
  EXPECT_EQ(text.reason, FinishReason::kStop);

  const TaskOutcome outcome = RunCase(folder, model, context);
  EXPECT_EQ(outcome.texts[0].answer.text, " one");
  EXPECT_EQ(outcome.texts[0].answer.reason, FinishReason::kStop);
  EXPECT_EQ(outcome.scores[0].estimate.value, 1);
}

// --- the same on the demo model with other files

class EndsOfDemo : public ::testing::Test {
 protected:
  EndsOfDemo() : context_(2) {
    const std::filesystem::path demo = testing::SourceRoot() / "demo/model";
    std::filesystem::copy(demo, folder_ / "model");
    text_ = WriteText(LoadModel(demo, {}, context_), kPrompt, {}, context_);
    end_ = StrCat(text_.ids[4]);
  }

  // Sets eos_token_id in a file; an empty value removes the file.
  void Set(const char* file, const std::string& value) {
    const std::filesystem::path path = folder_ / "model" / file;
    if (value.empty()) {
      std::filesystem::remove(path);
      return;
    }
    Json json = ReadJsonFile(path);
    json["eos_token_id"] = ParseJson(value, "value");
    WriteJsonFile(path, json);
  }

  Model Load() { return LoadModel(folder_ / "model", {}, context_); }

  // Whether the text ends at the token that became an end.
  bool EndsThere() {
    const WrittenText text = WriteText(Load(), kPrompt, {}, context_);
    const auto first = std::ranges::find(text_.ids, text_.ids[4]);
    const bool is_there = text.ids == std::vector<TokenId>(text_.ids.begin(), first);
    EXPECT_TRUE(is_there || text.ids == text_.ids);
    return is_there;
  }

  static constexpr const char* kPrompt = "Once upon a time";
  testing::TemporaryFolder folder_;
  testing::TestContext context_;
  WrittenText text_;
  std::string end_;
};

TEST_F(EndsOfDemo, EitherFileNamesThemInEveryForm) {
  EXPECT_FALSE(EndsThere());
  for (const std::string& value : {end_, "[" + end_ + "]", "[2, " + end_ + "]"}) {
    Set("generation_config.json", value);
    EXPECT_TRUE(EndsThere()) << value;
  }
  Set("generation_config.json", "null");
  EXPECT_FALSE(EndsThere());
  Set("config.json", "[2, " + end_ + "]");
  EXPECT_TRUE(EndsThere());
  Set("generation_config.json", "");
  EXPECT_TRUE(EndsThere());
  Set("config.json", "null");
  EXPECT_FALSE(EndsThere());
}

TEST_F(EndsOfDemo, WhatLoadingOpensNamesTheFile) {
  const Model model = Load();
  const InputFile* file = model.inputs.Find("generation_config.json");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->path, (folder_ / "model/generation_config.json").string());
}

// A text that ended elsewhere is not taken from the store; evaluations of both can be compared.
TEST_F(EndsOfDemo, AnswersWithAnotherEndHaveAnotherKey) {
  folder_.Write("rows.jsonl", R"({"q": "Once upon a time", "a": "x"})"
                              "\n");
  folder_.Write("task.yaml",
                "name: t\ntitle: t\nversion: 1\nkind: generation\n"
                "data: {set: \"rows.jsonl\", split: all}\n"
                "context: \"{q}\"\ngenerate: {max_tokens: 12}\nreferences: [\"{a}\"]\n"
                "metrics: [exact_match]\n");
  const Task task = TaskIn(folder_.path());
  ResultStore store(folder_ / "s.db");
  TaskRunOptions options;
  options.store = &store;
  const auto run = [&] {
    const Model model = Load();
    return RunTask(task, model, model.Hash(), options, context_);
  };

  const TaskOutcome before = run();
  Set("generation_config.json", end_);
  const TaskOutcome after = run();
  EXPECT_EQ(after.answers_found, 0u);
  EXPECT_EQ(run().answers_found, 1u);
  EXPECT_NE(after.texts[0].hash, before.texts[0].hash);
  EXPECT_LT(after.texts[0].answer.tokens, before.texts[0].answer.tokens);

  // The file is part of the model's hash; what was asked is the same, so both can be compared.
  EXPECT_NE(after.key.model, before.key.model);
  EvaluationKey of_other_model = after.key;
  of_other_model.model = before.key.model;
  EXPECT_EQ(of_other_model, before.key);
}

}  // namespace
}  // namespace qualm
