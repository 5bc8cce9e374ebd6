#include "tasks/task.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "io/json.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;
using testing::TemporaryFolder;

constexpr std::string_view kChoice = R"(name: tiny
title: A tiny task
data: {set: sst2, split: dev}
context: "{sentence}:"
continuation: " {choice}"
choices: [negative, positive]
answer: {is: index, value: "{label}"}
metrics: [acc]
)";

constexpr std::string_view kGeneration = R"(name: tiny
title: A tiny task
kind: generation
data: {set: sst2, split: dev}
context: "{sentence}:"
generate: {max_tokens: 7}
references: ["{label}"]
metrics: [exact_match]
)";

std::string Replaced(std::string_view text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string_view::npos) << from;
  return std::string(text).replace(at, from.size(), to);
}

Task Parse(std::string_view yaml) { return ParseTask(yaml, "t.yaml"); }

// What is said about a file in which one text is replaced by another.
std::string ErrorWith(std::string_view text, std::string_view from, std::string_view to) {
  return ErrorOf([&] { Parse(Replaced(text, from, to)); });
}

TEST(ParseTask, WhatIsNotSaidHasADefault) {
  const Task task = Parse(kChoice);
  EXPECT_EQ(task.name, "tiny");
  EXPECT_EQ(task.title, "A tiny task");
  EXPECT_EQ(task.version, 1);
  EXPECT_EQ(task.harness, "");
  EXPECT_EQ(task.kind, TaskKind::kMultipleChoice);
  EXPECT_THAT(task.subsets, IsEmpty());
  EXPECT_FALSE(task.has_where);
  EXPECT_FALSE(task.has_header_file);
  EXPECT_FALSE(task.has_first);
  EXPECT_EQ(task.shot_split, "");
  EXPECT_EQ(task.default_shots, 0u);
  EXPECT_FALSE(task.shots_are_sampled);
  EXPECT_EQ(task.separator, "\n\n");
  EXPECT_EQ(task.answer_kind, AnswerKind::kIndex);
  EXPECT_THAT(task.metrics, ElementsAre("acc"));
  ASSERT_EQ(task.choices.size(), 2u);
  EXPECT_EQ(task.choices[1].text.Render(Json::object(), "row"), "positive");
  EXPECT_EQ(task.choices[1].id.Render(Json::object(), "row"), "");
  // An answer without a kind is a letter.
  EXPECT_EQ(Parse(Replaced(kChoice, "is: index, ", "")).answer_kind, AnswerKind::kLetter);
}

TEST(ParseTask, EveryKeyOfAChoiceTaskIsRead) {
  const Task task = Parse(R"(name: full
title: t
version: 4
harness: a paper
kind: multiple_choice
data:
  set: mmlu
  split: test
  subsets: [anatomy, virology]
  where: "{question}"
  cluster: "{answer}"
  subset_names: {virology: the study of viruses}
  categories: {body: [anatomy], germs: [virology]}
shots: {split: dev, default: 5, choose: sampled, separator: "||"}
header: {file: "mmlu/{subset}.txt", after: "---"}
context: "{question}"
continuation: " {letter}"
choices: {each: [right, wrong], split: ";", first: "none", id: "{it.id}", text: "{it.text}"}
answer: {is: ids, value: x}
metrics: [mc2, acc]
)");
  EXPECT_EQ(task.version, 4);
  EXPECT_EQ(task.harness, "a paper");
  EXPECT_THAT(task.subsets, ElementsAre("anatomy", "virology"));
  EXPECT_TRUE(task.has_where);
  EXPECT_EQ(task.where.Render({{"question", "q"}}, "row"), "q");
  EXPECT_EQ(task.cluster.Render({{"answer", "B"}}, "row"), "B");
  EXPECT_THAT(task.subset_names, ElementsAre(Pair("virology", "the study of viruses")));
  EXPECT_THAT(task.categories, ElementsAre(Pair("body", ElementsAre("anatomy")),
                                           Pair("germs", ElementsAre("virology"))));
  EXPECT_EQ(task.shot_split, "dev");
  EXPECT_EQ(task.default_shots, 5u);
  EXPECT_TRUE(task.shots_are_sampled);
  EXPECT_EQ(task.separator, "||");
  EXPECT_TRUE(task.has_header_file);
  EXPECT_EQ(task.header_file.Render({{"subset", "anatomy"}}, "row"), "mmlu/anatomy.txt");
  EXPECT_EQ(task.header_after, "---");
  EXPECT_THAT(task.each, ElementsAre("right", "wrong"));
  EXPECT_EQ(task.each_separator, ";");
  EXPECT_TRUE(task.has_first);
  EXPECT_EQ(task.first.Render(Json::object(), "row"), "none");
  ASSERT_EQ(task.choices.size(), 1u);
  EXPECT_EQ(task.choices[0].id.Render({{"it", {{"id", "7"}}}}, "row"), "7");
  EXPECT_EQ(task.answer_kind, AnswerKind::kIds);
  EXPECT_THAT(task.metrics, ElementsAre("mc2", "acc"));
}

// What each filter of a task reads off a text.
std::vector<std::string> Readings(const Task& task, const std::string& text) {
  std::vector<std::string> readings;
  const Json row = Json::object();
  for (const AnswerFilter& filter : task.generation.filters) {
    readings.push_back(
        StrCat(filter.name(), ": ", filter.Predictions(std::vector{text}, {row, "row"})[0]));
  }
  return readings;
}

TEST(ParseTask, FiltersAreNamedChains) {
  const std::string filters =
      "filters:\n  strict: [{function: regex, regex_pattern: 'is (\\d)'}, {function: take_first}]\n"
      "  last: [{function: regex, regex_pattern: '\\d', group_select: -1}]\nmetrics:";
  EXPECT_THAT(Readings(Parse(Replaced(kGeneration, "metrics:", filters)), "It is 1 or 2"),
              ElementsAre("strict: 1", "last: 2"));
  EXPECT_EQ(ErrorWith(kGeneration, "metrics:", StrCat("prediction: x\n", filters)),
            "[t.yaml:8] expected filters or prediction; got both");
  EXPECT_THAT(ErrorWith(kChoice, "metrics:", StrCat(filters)),
              HasSubstr("no 'filters' in a multiple_choice task"));
}

TEST(ParseTask, ExactMatchHasOptions) {
  const auto with = [](const std::string& metrics) {
    return Replaced(kGeneration, "metrics: [exact_match]", "metrics: " + metrics);
  };
  EXPECT_FALSE(Parse(kGeneration).generation.exact_match.has_value());
  const Task task =
      Parse(with("[squad_f1, {metric: exact_match, ignore_case: true, regexes_to_ignore: [',']}]"));
  EXPECT_THAT(task.metrics, ElementsAre("squad_f1", "exact_match"));
  EXPECT_EQ(ComparedText("1,000 A.", *task.generation.exact_match), "1000 a.");

  const auto error = [&](const std::string& metrics) {
    return ErrorOf([&] { Parse(with(metrics)); });
  };
  EXPECT_THAT(error("[{metric: squad_f1, ignore_case: true}]"),
              HasSubstr("expected options of exact_match only; got squad_f1"));
  EXPECT_THAT(error("[{metric: exact_match, ignore_cases: true}]"), HasSubstr("'ignore_cases'"));
  EXPECT_THAT(error("[{metric: exact_match}, {metric: exact_match}]"), HasSubstr("once"));
}

TEST(ParseTask, ALetterOfAnAnswerIsAmongTheOptions) {
  EXPECT_THAT(ErrorWith(kGeneration, "metrics:", "prediction: '{generated|letter}'\nmetrics:"),
              HasSubstr("1 arguments of letter (the option letters, as in letter:ABCD); got 0"));
}

TEST(ParseTask, GenerationReadsItsOwnKeys) {
  const Task plain = Parse(kGeneration);
  EXPECT_EQ(plain.kind, TaskKind::kGeneration);
  EXPECT_EQ(plain.generation.max_tokens, 7u);
  EXPECT_THAT(plain.generation.stop, IsEmpty());
  EXPECT_EQ(plain.generation.samples, 1u);
  EXPECT_EQ(plain.generation.temperature, 0);
  EXPECT_EQ(plain.generation.top_p, 1);
  EXPECT_EQ(plain.generation.bleu_tokenizer, "13a");
  EXPECT_THAT(Readings(plain, " a \n"), ElementsAre("prediction: a"));
  // A shot shows the reference after a blank.
  EXPECT_EQ(plain.continuation.Render({{"choice", "yes"}}, "row"), " yes");

  const std::string more =
      "{stop: [x, \"\\n\"], samples: 3, temperature: 0.5, top_p: 0.9, bleu: spm, bleu_pieces: p}\n"
      "prediction: \"{generated|lower}\"\ncontinuation: \"->{choice}\"";
  const Task full = Parse(Replaced(kGeneration, "{max_tokens: 7}", more));
  EXPECT_EQ(full.generation.max_tokens, 128u);
  EXPECT_THAT(full.generation.stop, ElementsAre("x", "\n"));
  EXPECT_EQ(full.generation.samples, 3u);
  EXPECT_EQ(full.generation.temperature, 0.5);
  EXPECT_EQ(full.generation.top_p, 0.9);
  EXPECT_EQ(full.generation.bleu_tokenizer, "spm");
  EXPECT_EQ(full.generation.bleu_pieces, "p");
  EXPECT_THAT(Readings(full, " A"), ElementsAre("prediction:  a"));
  EXPECT_EQ(full.continuation.Render({{"choice", "yes"}}, "row"), "->yes");
}

TEST(ParseTask, AContinuationTaskHasNoChoices) {
  const std::string yaml = Replaced(
      Replaced(Replaced(kChoice, "choices: [negative, positive]\n", "kind: continuation\n"),
               "answer: {is: index, value: \"{label}\"}\n", ""),
      "[acc]", "[ppl, acc]");
  EXPECT_EQ(Parse(yaml).kind, TaskKind::kContinuation);
  EXPECT_EQ(ErrorWith(kChoice, "title: A tiny task", "title: t\nkind: continuation"),
            "[t.yaml:7] expected no 'choices' in a continuation task; got choices");
  EXPECT_EQ(ErrorWith(kGeneration, "references: [\"{label}\"]", "answer: {value: x}"),
            "[t.yaml:7] expected no 'answer' in a generation task; got answer");
  EXPECT_EQ(ErrorWith(kChoice, "metrics: [acc]", "metrics: [acc]\nprediction: x"),
            "[t.yaml:9] expected no 'prediction' in a multiple_choice task; got prediction");
}

TEST(ParseTask, UnknownKeysNameTheirLineAndTheNearestKey) {
  EXPECT_THAT(ErrorWith(kChoice, "context:", "contxt:"),
              StartsWith("[t.yaml:4] unknown key 'contxt'; did you mean 'context'? available: name,"
                         " title, version,"));
  EXPECT_THAT(ErrorWith(kChoice, "split: dev", "splits: dev"),
              StartsWith("[t.yaml:3] unknown key 'splits'; did you mean 'split'?"));
  EXPECT_THAT(ErrorWith(kChoice, "{is: index,", "{si: index,"),
              StartsWith("[t.yaml:7] unknown key 'si'; did you mean 'is'?"));
  EXPECT_THAT(ErrorWith(kChoice, "[negative, positive]", "[{idd: a, text: b}, c]"),
              StartsWith("[t.yaml:6] unknown key 'idd'; did you mean 'id'?"));
  EXPECT_THAT(ErrorWith(kChoice, "[negative, positive]", "{each: a, text: b, ids: c}"),
              StartsWith("[t.yaml:6] unknown key 'ids'; did you mean 'id'?"));
  EXPECT_THAT(ErrorWith(kChoice, "context:", "header: {file: a, afer: b}\ncontext:"),
              StartsWith("[t.yaml:4] unknown key 'afer'; did you mean 'after'?"));
  EXPECT_THAT(ErrorWith(kChoice, "context:", "shots: {split: train, defualt: 1}\ncontext:"),
              StartsWith("[t.yaml:4] unknown key 'defualt'; did you mean 'default'?"));
  EXPECT_THAT(ErrorWith(kGeneration, "max_tokens", "max_token"),
              StartsWith("[t.yaml:6] unknown key 'max_token'; did you mean 'max_tokens'?"));
}

TEST(ParseTask, KeysThatMustBeThereAreAskedFor) {
  const auto without = [](std::string_view text, std::string_view line) {
    return ErrorWith(text, line, "");
  };
  EXPECT_EQ(without(kChoice, "name: tiny\n"), "[t.yaml:1] expected the key 'name'; got none");
  EXPECT_EQ(without(kChoice, "title: A tiny task\n"),
            "[t.yaml:1] expected the key 'title'; got none");
  EXPECT_EQ(without(kChoice, "data: {set: sst2, split: dev}\n"),
            "[t.yaml:1] expected the key 'data'; got none");
  EXPECT_EQ(without(kChoice, ", split: dev"), "[t.yaml:3] expected the key 'split'; got none");
  EXPECT_EQ(without(kChoice, "continuation: \" {choice}\"\n"),
            "[t.yaml:1] expected the key 'continuation'; got none");
  EXPECT_EQ(without(kChoice, "choices: [negative, positive]\n"),
            "[t.yaml:1] expected the key 'choices'; got none");
  EXPECT_EQ(without(kChoice, ", value: \"{label}\""),
            "[t.yaml:7] expected the key 'value'; got none");
  EXPECT_EQ(without(kChoice, "metrics: [acc]\n"),
            "[t.yaml:1] expected the key 'metrics'; got none");
  EXPECT_EQ(without(kGeneration, "generate: {max_tokens: 7}\n"),
            "[t.yaml:1] expected the key 'generate'; got none");
  EXPECT_EQ(without(kGeneration, "references: [\"{label}\"]\n"),
            "[t.yaml:1] expected the key 'references'; got none");
  EXPECT_EQ(ErrorWith(kChoice, "[negative, positive]", "{each: a}"),
            "[t.yaml:6] expected the key 'text'; got none");
}

TEST(ParseTask, NamesOfDataAreThoseOfTheSet) {
  EXPECT_THAT(ErrorWith(kChoice, "set: sst2", "set: sts2"),
              StartsWith("[t.yaml:3] unknown data set 'sts2'; did you mean 'sst2'?"));
  EXPECT_EQ(ErrorWith(kChoice, "split: dev", "split: dve"),
            "[t.yaml:3] unknown split of sst2 'dve'; did you mean 'dev'? available: train, dev, "
            "test");
  EXPECT_EQ(ErrorWith(kChoice, "split: dev", "split: dev, subsets: [x]"),
            "[t.yaml:3] unknown subset of sst2 'x'; available: ");
  const std::string mmlu = Replaced(kChoice, "set: sst2, split: dev", "set: mmlu, split: test");
  EXPECT_THAT(ErrorWith(mmlu, "split: test", "split: test, subset_names: {anatomi: a}"),
              StartsWith("[t.yaml:3] unknown subset of mmlu 'anatomi'; did you mean 'anatomy'?"));
  EXPECT_THAT(ErrorWith(mmlu, "split: test", "split: test, categories: {c: [anatomy, virolgy]}"),
              StartsWith("[t.yaml:3] unknown subset of mmlu 'virolgy'; did you mean 'virology'?"));
}

TEST(ParseTask, ShotsComeFromAnotherSplit) {
  const auto with_shots = [](std::string_view shots) {
    return ErrorWith(kChoice, "context:", StrCat("shots: ", shots, "\ncontext:"));
  };
  EXPECT_EQ(with_shots("{split: dev}"),
            "[t.yaml:4] expected shots from another split than the scored one; got dev; a shot "
            "from the split under test is leakage");
  EXPECT_THAT(with_shots("{split: trian}"),
              StartsWith("[t.yaml:4] unknown split of sst2 'trian'; did you mean 'train'?"));
  EXPECT_EQ(with_shots("{split: train, default: 1001}"),
            "[t.yaml:4] expected default in 0..1000; got 1001");
  EXPECT_EQ(with_shots("{split: train, choose: frist}"),
            "[t.yaml:4] unknown choose 'frist'; did you mean 'first'? available: first, sampled");
  EXPECT_EQ(with_shots("{default: 1}"), "[t.yaml:4] expected the key 'split'; got none");
}

TEST(ParseTask, ValuesOutOfRangeAreRefused) {
  EXPECT_EQ(ErrorWith(kChoice, "title: A tiny task", "title: t\nversion: 0"),
            "[t.yaml:3] expected version in 1..1000000; got 0");
  EXPECT_EQ(ErrorWith(kChoice, "title: A tiny task", "title: t\nkind: generatoin"),
            "[t.yaml:3] unknown kind 'generatoin'; did you mean 'generation'? available: "
            "multiple_choice, continuation, generation");
  EXPECT_EQ(ErrorWith(kChoice, "[negative, positive]", "[one]"),
            "[t.yaml:6] expected at least 2; got 1");
  EXPECT_EQ(ErrorWith(kGeneration, "[\"{label}\"]", "[]"), "[t.yaml:7] expected at least 1; got 0");
  EXPECT_EQ(ErrorWith(kChoice, "[negative, positive]", "{each: [], text: x}"),
            "[t.yaml:6] expected a list's name; got none");
  EXPECT_EQ(ErrorWith(kChoice, "is: index", "is: letters"),
            "[t.yaml:7] unknown is 'letters'; did you mean 'letter'? available: letter, index, "
            "number, id, ids");
  EXPECT_EQ(ErrorWith(kChoice, "[acc]", "[]"), "[t.yaml:8] expected a metric; got none");
  EXPECT_THAT(ErrorWith(kChoice, "[acc]", "[acc_norn]"),
              StartsWith("[t.yaml:8] unknown metric 'acc_norn'; did you mean 'acc_norm'?"));
  // A metric of another kind of task is as unknown as any.
  EXPECT_THAT(ErrorWith(kChoice, "[acc]", "[ppl]"), StartsWith("[t.yaml:8] unknown metric 'ppl'"));
  EXPECT_THAT(ErrorWith(kGeneration, "[exact_match]", "[acc]"),
              StartsWith("[t.yaml:8] unknown metric 'acc'"));
}

TEST(ParseTask, WaysToGenerateAreChecked) {
  const auto with = [](std::string_view generate) {
    return ErrorWith(kGeneration, "{max_tokens: 7}", generate);
  };
  EXPECT_EQ(with("{max_tokens: 0}"), "[t.yaml:6] expected max_tokens in 1..1048576; got 0");
  EXPECT_EQ(with("{stop: [a, \"\"]}"), "[t.yaml:6] expected texts to stop at; got an empty one");
  EXPECT_EQ(with("{samples: 2}"),
            "[t.yaml:6] expected a temperature above 0 for several samples; got 0; greedy samples "
            "are all the same");
  EXPECT_THAT(with("{top_p: 0}"), HasSubstr("expected top_p in 1e-06..1; got 0"));
  EXPECT_THAT(with("{bleu: spm}"),
              StartsWith("[t.yaml:6] expected bleu: spm together with bleu_pieces;"));
  EXPECT_THAT(with("{bleu_pieces: p}"),
              StartsWith("[t.yaml:6] expected bleu: spm together with bleu_pieces;"));
  EXPECT_EQ(with("{bleu: 14a}"),
            "[t.yaml:6] unknown bleu '14a'; did you mean '13a'? available: 13a, zh, none, spm");
}

TEST(ParseTask, MistakesInTemplatesNameTheirLine) {
  EXPECT_EQ(ErrorWith(kChoice, "{sentence}:", "{sentence:"),
            "[t.yaml:4] expected a template with a } for every {; got none");
  EXPECT_THAT(ErrorWith(kChoice, "{choice}", "{choice|lowr}"),
              StartsWith("[t.yaml:5] unknown filter 'lowr'; did you mean 'lower'?"));
  EXPECT_THAT(ErrorWith(kChoice, "[negative, positive]", "\n  - a\n  - \"}\""),
              StartsWith("[t.yaml:8] expected a template with }} for a brace"));
}

TEST(FindTask, KnowsNamesAndPaths) {
  EXPECT_EQ(FindTask("sst2").name, "sst2");
  EXPECT_THAT(ErrorOf([] { FindTask("mmul"); }),
              StartsWith("[--task] unknown task 'mmul'; did you mean 'mmlu'?"));
  // A group is not a task, but it is among the names.
  EXPECT_THAT(ErrorOf([] { FindTask("knowledg"); }), HasSubstr("did you mean 'knowledge'"));

  const TemporaryFolder folder;
  const std::string path = folder.Write("mine.yaml", kChoice).string();
  EXPECT_EQ(FindTask(path).name, "tiny");
  folder.Write("broken.yaml", "name: x\n");
  const std::string broken = (folder / "broken.yaml").string();
  EXPECT_EQ(ErrorOf([&] { FindTask(broken); }),
            StrCat("[", broken, ":1] expected the key 'title'; got none"));
  const std::string absent = (folder / "absent.yaml").string();
  EXPECT_EQ(ErrorOf([&] { FindTask(absent); }),
            StrCat("[", absent, "] expected a readable file; got No such file or directory"));
}

TEST(TaskNames, HaveTitles) {
  for (const std::string& name : TaskNames()) EXPECT_NE(TaskTitle(name), "") << name;
  EXPECT_EQ(TaskTitle("no such task"), "");
}

TEST(TaskGroups, StandForTheirMembers) {
  EXPECT_THAT(ExpandTaskName("bbq"), ElementsAre("bbq-ambig", "bbq-disambig"));
  EXPECT_THAT(ExpandTaskName("sst2"), ElementsAre("sst2"));
  EXPECT_THAT(ExpandTaskName("./mine.yaml"), ElementsAre("./mine.yaml"));
  for (const TaskGroup& group : AllTaskGroups()) {
    EXPECT_NE(group.title, "") << group.name;
    EXPECT_THAT(ExpandTaskName(group.name), ::testing::ElementsAreArray(group.tasks));
  }
}

TEST(TaskMetrics, AreNamedOnceForEachKind) {
  std::set<std::pair<std::string, TaskKind>> seen;
  for (const MetricEntry& metric : AllTaskMetrics()) {
    EXPECT_TRUE(seen.emplace(metric.name, metric.kind).second) << metric.name;
    EXPECT_STRNE(metric.summary, "") << metric.name;
  }
  EXPECT_TRUE(seen.contains({"acc", TaskKind::kMultipleChoice}));
  EXPECT_TRUE(seen.contains({"acc", TaskKind::kContinuation}));
  EXPECT_TRUE(seen.contains({"bleu", TaskKind::kGeneration}));
}

}  // namespace
}  // namespace qualm
