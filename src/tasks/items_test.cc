#include "tasks/items.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Two sets of rows as JSON: hellaswag, which is one file for each split, and arc with two subsets.
class Items : public ::testing::Test {
 protected:
  Items() {
    for (const char* name : {"hellaswag", "arc"}) {
      std::filesystem::create_directories(folder_ / name);
    }
  }

  void WriteRows(std::string_view file, const std::vector<Json>& rows) const {
    std::string text;
    for (const Json& row : rows) text += StrCat(row.dump(), "\n");
    folder_.Write(file, text);
  }
  void Rows(const std::vector<Json>& rows) const {
    WriteRows("hellaswag/hellaswag_val.jsonl", rows);
  }
  void Examples(const std::vector<Json>& rows) const {
    WriteRows("hellaswag/hellaswag_train.jsonl", rows);
  }

  // A task on hellaswag; `more` has the lines that differ from test to test.
  static Task TaskOf(std::string_view more, std::string_view data = "set: hellaswag, split: val") {
    return ParseTask(StrCat("name: tiny\ntitle: t\ndata: {", data, "}\n", more), "t.yaml");
  }
  static Task ChoiceTask(std::string_view choices, std::string_view answer,
                         std::string_view context = "{q}") {
    return TaskOf(StrCat("context: \"", context, "\"\ncontinuation: \" {choice}\"\nchoices: ",
                         choices, "\nanswer: ", answer, "\nmetrics: [acc]\n"));
  }

  TaskItems Make(const Task& task, const ItemOptions& options = {}) const {
    return MakeItems(task, options, folder_.path());
  }
  TaskItem Only(const Task& task) const {
    const TaskItems made = Make(task);
    EXPECT_EQ(made.items.size(), 1u);
    return made.items.at(0);
  }
  // The gold choice of one row of three choices a, b, c with ids x, y, z; or the error.
  std::string Gold(std::string_view is, const Json& answer) const {
    Rows({{{"q", "Q"}, {"answer", answer}}});
    const Task task = ChoiceTask("[{id: x, text: a}, {id: y, text: b}, {id: z, text: c}]",
                                 StrCat("{is: ", is, ", value: \"{answer}\"}"));
    std::string gold;
    const std::string error = ErrorOf([&] { gold = StrCat(Only(task).gold); });
    return gold.empty() ? error : gold;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Items, AnswersNameTheGoldChoice) {
  EXPECT_EQ(Gold("letter", "B"), "1");
  EXPECT_EQ(Gold("letter", " C\n"), "2");
  EXPECT_EQ(Gold("index", 0), "0");
  EXPECT_EQ(Gold("number", 3), "2");
  EXPECT_EQ(Gold("number", 3.0), "2");  // as pandas stores integers next to nulls
  EXPECT_EQ(Gold("index", "1.00"), "1");
  EXPECT_EQ(Gold("id", "y"), "1");
  EXPECT_EQ(Gold("ids", "z"), "2");
}

TEST_F(Items, AnswersThatNameNoChoiceAreRefused) {
  const auto refused = [](std::string_view got) {
    return StrCat("[hellaswag:val row 0] expected an answer among 3 choices; got '", got, "'");
  };
  EXPECT_EQ(Gold("letter", "D"), refused("D"));
  EXPECT_EQ(Gold("letter", "b"), refused("b"));
  EXPECT_EQ(Gold("letter", "AB"), refused("AB"));
  EXPECT_EQ(Gold("letter", "1"), refused("1"));
  EXPECT_EQ(Gold("letter", ""), refused(""));
  EXPECT_EQ(Gold("index", 3), refused("3"));
  EXPECT_EQ(Gold("index", -1), refused("-1"));
  EXPECT_EQ(Gold("index", "1x"), refused("1x"));
  EXPECT_EQ(Gold("index", 1.5), refused("1.5"));
  EXPECT_EQ(Gold("index", ".0"), refused(".0"));
  EXPECT_EQ(Gold("number", 0), refused("0"));
  EXPECT_EQ(Gold("number", 4), refused("4"));
  EXPECT_EQ(Gold("number", "one"), refused("one"));
  EXPECT_EQ(Gold("id", "a"), refused("a"));  // its text, not its id
}

TEST_F(Items, AChoiceWithoutAnIdIsNamedByItsText) {
  Rows({{{"q", "Q"}, {"answer", "b"}}});
  const TaskItem item = Only(ChoiceTask("[a, b]", "{is: id, value: \"{answer}\"}"));
  EXPECT_THAT(item.ids, ElementsAre("a", "b"));
  EXPECT_EQ(item.gold, 1u);
  EXPECT_TRUE(item.IsRight(1));
  EXPECT_FALSE(item.IsRight(0));
  EXPECT_THAT(item.right, IsEmpty());
}

TEST_F(Items, SeveralChoicesMayBeRight) {
  Rows({{{"good", {"a", "b"}}, {"bad", {"c"}}, {"q", "Q"}}});
  const TaskItem item = Only(
      ChoiceTask("{each: [bad, good], id: \"{list}\", text: \"{it}\"}", "{is: ids, value: good}"));
  EXPECT_THAT(item.choices, ElementsAre("c", "a", "b"));
  EXPECT_THAT(item.ids, ElementsAre("bad", "good", "good"));
  EXPECT_EQ(item.gold, 1u);  // the first of the right ones
  EXPECT_THAT(item.right, ElementsAre(0, 1, 1));
  EXPECT_TRUE(item.IsRight(2));
}

TEST_F(Items, ChoicesOfAListMayBeObjectsAfterAFirstOne) {
  Rows({{{"q", "Q"}, {"c", {{{"t", "a"}, {"n", 5}}, {{"t", "b"}, {"n", 6}}}}}});
  const TaskItem item =
      Only(ChoiceTask("{each: c, first: none of them, id: \"{it.n}\", "
                      "text: \"{it.t}\"}",
                      "{is: id, value: 6}"));
  EXPECT_THAT(item.choices, ElementsAre("none of them", "a", "b"));
  EXPECT_THAT(item.ids, ElementsAre("none of them", "5", "6"));
  EXPECT_EQ(item.gold, 2u);
}

TEST_F(Items, ATextOfChoicesIsPartedAtItsSeparator) {
  Rows({{{"q", "Q"}, {"c", " a || b c|| ||d"}}});
  const TaskItem item =
      Only(ChoiceTask("{each: c, split: \"||\", text: \"{it}\"}", "{is: index, value: 0}"));
  EXPECT_THAT(item.choices, ElementsAre("a", "b c", "d"));  // trimmed, empty ones left out
}

TEST_F(Items, MissingFieldsNameTheRow) {
  const std::string each = "{each: c, text: \"{it}\"}";
  const std::string index = "{is: index, value: \"0\"}";
  const auto error = [&](const Json& row, const Task& task) {
    Rows({{{"q", "Q"}, {"c", {"a", "b"}}}, row});
    return ErrorOf([&] { Make(task); });
  };
  EXPECT_EQ(error({{"q", "Q"}}, ChoiceTask(each, index)),
            "[hellaswag:val row 1] expected a list of choices in 'c'; got none");
  EXPECT_EQ(error({{"q", "Q"}, {"c", "a"}}, ChoiceTask(each, index)),
            "[hellaswag:val row 1] expected a list of choices in 'c'; got string");
  EXPECT_EQ(error({{"q", "Q"}, {"c", {"a"}}}, ChoiceTask(each, index)),
            "[hellaswag:val row 1] expected at least 2 in 'c'; got 1");
  EXPECT_THAT(
      error({{"question", "Q"}, {"c", {"a", "b"}}}, ChoiceTask(each, index, "{c.0} {question}")),
      StartsWith("[hellaswag:val row 0] unknown field 'question'"));
  EXPECT_THAT(error({{"qq", "Q"}, {"c", {"a", "b"}}}, ChoiceTask(each, index)),
              StartsWith("[hellaswag:val row 1] unknown field 'q'; did you mean 'qq'?"));
  EXPECT_EQ(error({{"q", {"Q"}}, {"c", {"a", "b"}}}, ChoiceTask(each, index)),
            "[hellaswag:val row 1] expected text or a number in 'q'; got array");
}

TEST_F(Items, AContextIsMadeForEachChoiceOnlyIfItNamesOne) {
  Rows({{{"q", "Q"}}});
  const std::string index = "{is: index, value: 1}";
  const TaskItem one = Only(ChoiceTask("[a, b]", index));
  EXPECT_THAT(one.contexts, ElementsAre("Q"));
  EXPECT_EQ(one.ContextOf(1), "Q");
  EXPECT_THAT(one.continuations, ElementsAre(" a", " b"));
  const TaskItem each = Only(ChoiceTask("[a, b]", index, "{letter}{index}{choice}"));
  EXPECT_THAT(each.contexts, ElementsAre("A0a", "B1b"));
  EXPECT_EQ(each.ContextOf(1), "B1b");
  // All choices together are the same for every one of them.
  EXPECT_THAT(Only(ChoiceTask("[a, b]", index, "{for c in choices}{c}{end}")).contexts,
              ElementsAre("ab"));
}

TEST_F(Items, AContinuationHasNoChoices) {
  Rows({{{"q", "Q"}, {"word", "end"}}});
  const TaskItem item =
      Only(TaskOf("kind: continuation\ncontext: \"{row_number}. {q}\"\n"
                  "continuation: \" {word}\"\nmetrics: [ppl]\n"));
  EXPECT_EQ(item.place, "hellaswag:val row 0");
  EXPECT_THAT(item.contexts, ElementsAre("1. Q"));
  EXPECT_THAT(item.continuations, ElementsAre(" end"));
  EXPECT_THAT(item.choices, IsEmpty());
  EXPECT_EQ(item.scope, nullptr);
}

TEST_F(Items, AGenerationKeepsItsRowAndItsReferences) {
  const std::string_view yaml =
      "kind: generation\ncontext: \"{q}\"\ngenerate: {}\n"
      "references: {each: refs, text: \"{it}\"}\nmetrics: [exact_match]\n";
  Rows({{{"q", "Q"}, {"refs", {"one", "two"}}}});
  const TaskItem item = Only(TaskOf(yaml));
  EXPECT_THAT(item.choices, ElementsAre("one", "two"));
  EXPECT_THAT(item.continuations, ElementsAre(" one"));  // what a shot would show
  ASSERT_NE(item.scope, nullptr);
  EXPECT_EQ((*item.scope)["q"], "Q");
  Rows({{{"q", "Q"}, {"refs", Json::array()}}});
  EXPECT_EQ(ErrorOf([&] { Make(TaskOf(yaml)); }),
            "[hellaswag:val row 0] expected at least 1 in 'refs'; got 0");
}

constexpr const char* kAnswer =
    "context: \"{q}\"\ncontinuation: \" {choice}\"\nchoices: [a, b]\n"
    "answer: {is: index, value: \"{gold}\"}\nmetrics: [acc]\n";

TEST_F(Items, WhereChoosesRowsThatKeepTheirNumbers) {
  Rows({{{"q", "Q"}, {"gold", 0}, {"kind", "x"}},
        {{"q", "R"}, {"gold", 1}, {"kind", "y"}},
        {{"q", "S"}, {"gold", 1}, {"kind", "x"}}});
  const auto task = [](std::string_view kind) {
    return TaskOf(kAnswer, StrCat("set: hellaswag, split: val, where: \"{kind|only:", kind, "}\""));
  };
  const TaskItems made = Make(task("x"));
  ASSERT_EQ(made.items.size(), 2u);
  EXPECT_EQ(made.rows_in_split, 2u);
  EXPECT_FALSE(made.is_partial);
  EXPECT_EQ(made.items[1].row, 2u);
  EXPECT_EQ(made.items[1].place, "hellaswag:val row 2");
  EXPECT_EQ(ErrorOf([&] { Make(task("z")); }),
            "[hellaswag:val] expected a row that the task asks; got none; 'where' leaves all of "
            "them out");
}

TEST_F(Items, ClustersAreSubsetsUnlessTheTaskSaysMore) {
  const std::vector<Json> rows = {{{"q", "Q"}, {"gold", 0}, {"text", "T"}}};
  WriteRows("arc/ARC-Challenge-Dev.jsonl", rows);
  WriteRows("arc/ARC-Easy-Dev.jsonl", rows);
  Rows(rows);
  EXPECT_EQ(Make(TaskOf(kAnswer)).items[0].cluster, "");  // it depends on no other item
  const TaskItems by_subset = Make(TaskOf(kAnswer, "set: arc, split: dev"));
  ASSERT_EQ(by_subset.items.size(), 2u);
  EXPECT_EQ(by_subset.items[0].cluster, "Challenge");
  EXPECT_EQ(by_subset.items[1].cluster, "Easy");
  const std::string by_text = "set: arc, split: dev, subsets: [Easy], cluster: \"{text}\"";
  const TaskItems made = Make(TaskOf(kAnswer, by_text));
  ASSERT_EQ(made.items.size(), 1u);
  EXPECT_EQ(made.items[0].cluster, "T");
  EXPECT_EQ(made.items[0].subset, "Easy");
  EXPECT_EQ(made.items[0].place, "arc:dev:Easy row 0");
}

TEST_F(Items, SubsetsHaveNamesForPeople) {
  WriteRows("arc/ARC-Challenge-Dev.jsonl", {{{"gold", 0}}});
  WriteRows("arc/ARC-Easy-Dev.jsonl", {{{"gold", 0}}});
  const TaskItems made = Make(
      TaskOf("context: \"{subset}={subset_name}\"\ncontinuation: \" {choice}\"\nchoices: [a, b]\n"
             "answer: {is: index, value: \"{gold}\"}\nmetrics: [acc]\n",
             "set: arc, split: dev, subset_names: {Easy: not hard}"));
  EXPECT_EQ(made.items[0].contexts[0], "Challenge=Challenge");
  EXPECT_EQ(made.items[1].contexts[0], "Easy=not hard");
}

TEST_F(Items, ShotsComeFromTheRowsOwnSubset) {
  WriteRows("arc/ARC-Challenge-Dev.jsonl", {{{"q", "Q"}, {"gold", 0}}});
  WriteRows("arc/ARC-Easy-Dev.jsonl", {{{"q", "R"}, {"gold", 0}}});
  WriteRows("arc/ARC-Challenge-Train.jsonl",
            {{{"q", "c1"}, {"gold", 1}}, {{"q", "c2"}, {"gold", 0}}});
  WriteRows("arc/ARC-Easy-Train.jsonl", {{{"q", "e1"}, {"gold", 0}}});
  const Task task =
      TaskOf(StrCat("header: \"{subset}:\"\nshots: {split: train, default: 1, separator: \"|\"}\n",
                    kAnswer),
             "set: arc, split: dev");
  const TaskItems made = Make(task);
  EXPECT_EQ(made.shots, 1u);
  EXPECT_EQ(made.items[0].shots->Prompt(1), "Challenge:c1 b|");
  EXPECT_EQ(made.items[1].shots->Prompt(1), "Easy:e1 a|");
  EXPECT_EQ(made.items[1].shots->Prompt(0), "Easy:");

  ItemOptions options;
  options.shots = 2;
  EXPECT_EQ(ErrorOf([&] { Make(task, options); }),
            "[--shots] expected at most 1, the rows of arc:train:Easy; got 2");
  options.shots = 0;
  EXPECT_THAT(Make(task, options).items[0].shots->texts, IsEmpty());
}

TEST_F(Items, ShotsAreRowsThatTheTaskAsksAndFollowTheSeed) {
  Rows({{{"q", "Q"}, {"gold", 0}, {"kind", "x"}}});
  Examples({{{"q", "not"}, {"gold", 0}, {"kind", "y"}}, {{"q", "e"}, {"gold", 1}, {"kind", "x"}}});
  const Task task = TaskOf(StrCat("shots: {split: train, separator: \"|\"}\n", kAnswer),
                           "set: hellaswag, split: val, where: \"{kind|only:x}\"");
  ItemOptions options;
  options.shots = 1;
  EXPECT_EQ(Make(task, options).items[0].shots->Prompt(1), "e b|");
  EXPECT_EQ(Make(task).shots, 0u);  // its default
}

TEST_F(Items, ATaskWithoutASplitForExamplesHasNoShots) {
  Rows({{{"q", "Q"}, {"gold", 0}}});
  ItemOptions options;
  options.shots = 1;
  EXPECT_EQ(ErrorOf([&] { Make(TaskOf(kAnswer), options); }),
            "[--shots] expected 0: task tiny has no split for examples; got 1");
}

TEST_F(Items, SampledShotsAreInTheOrderOfTheirRowsAndTheSameForOneSeed) {
  Rows({{{"q", "Q"}, {"gold", 0}}});
  std::vector<Json> examples;
  for (int i = 0; i < 9; ++i) examples.push_back({{"q", StrCat(i)}, {"gold", 0}});
  Examples(examples);
  const Task task = TaskOf(StrCat("shots: {split: train, default: 4, choose: sampled}\n", kAnswer));
  std::set<std::vector<std::string>> seen;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    ItemOptions options;
    options.fewshot_seed = seed;
    const std::vector<std::string> texts = Make(task, options).items[0].shots->texts;
    ASSERT_EQ(texts.size(), 4u);
    EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()).size(), 4u);  // none twice
    EXPECT_TRUE(std::ranges::is_sorted(texts));
    EXPECT_EQ(texts, Make(task, options).items[0].shots->texts);
    seen.insert(texts);
  }
  EXPECT_GT(seen.size(), 1u);
}

TEST_F(Items, AHeaderMayBeThePartOfAFileAfterAMark) {
  Rows({{{"q", "Q"}, {"gold", 0}}});
  const Task task = TaskOf(StrCat("header: {file: head.txt, after: \"--\\n\"}\n", kAnswer));
  EXPECT_THAT(ErrorOf([&] { Make(task); }),
              StartsWith(StrCat("[tiny] expected the file ", (folder_ / "head.txt").string(),
                                "; got none; it comes from: hellaswag_{train,val}.jsonl")));
  folder_.Write("head.txt", "a note\n--\nFirst: -- last\n");
  EXPECT_EQ(Make(task).items[0].shots->header, "First: -- last\n");
  folder_.Write("head.txt", "a note without the mark\n");
  EXPECT_EQ(ErrorOf([&] { Make(task); }),
            StrCat("[", (folder_ / "head.txt").string(), "] expected '--\n'; got none"));
}

TEST_F(Items, ALimitIsPartialOnlyIfItLeavesRowsOut) {
  std::vector<Json> rows;
  for (int i = 0; i < 5; ++i) rows.push_back({{"q", StrCat(i)}, {"gold", 0}});
  Rows(rows);
  ItemOptions options;
  options.limit = 2;
  const TaskItems part = Make(TaskOf(kAnswer), options);
  ASSERT_EQ(part.items.size(), 2u);
  EXPECT_TRUE(part.is_partial);
  EXPECT_EQ(part.rows_in_split, 5u);
  EXPECT_LT(part.items[0].row, part.items[1].row);
  EXPECT_EQ(part.items[0].contexts[0], StrCat(part.items[0].row));
  options.limit = 5;
  EXPECT_FALSE(Make(TaskOf(kAnswer), options).is_partial);
}

TEST_F(Items, APartOfASplitIsPartial) {
  Rows({{{"q", "a"}, {"gold", 0}}, {{"q", "b"}, {"gold", 0}}, {{"q", "c"}, {"gold", 0}}});
  ItemOptions options;
  options.split = "val[:2]";
  EXPECT_TRUE(Make(TaskOf(kAnswer), options).is_partial);
  for (const char* whole : {"", "val", "val[:3]", "val[:4]"}) {
    options.split = whole;
    EXPECT_FALSE(Make(TaskOf(kAnswer), options).is_partial) << whole;
  }
}

TEST_F(Items, APoolWithoutRowsIsNamed) {
  Rows({{{"q", "a"}, {"gold", 0}}});
  ItemOptions options;
  options.pool = RowPool::kScored;
  options.calibration_share = 1;
  EXPECT_THAT(testing::ErrorOf([&] { (void)Make(TaskOf(kAnswer), options); }),
              ::testing::HasSubstr("got none; 'where' or the pool of rows leaves all of them out"));
}

TEST_F(Items, PoolsPartTheRowsInTwo) {
  std::vector<Json> rows;
  for (int i = 0; i < 40; ++i) rows.push_back({{"q", StrCat(i)}, {"gold", 0}});
  Rows(rows);
  const Task task = TaskOf(kAnswer);
  const auto rows_of = [&](RowPool pool, uint64_t seed, double share) {
    ItemOptions options;
    options.pool = pool;
    options.pool_seed = seed;
    options.calibration_share = share;
    std::set<size_t> numbers;
    for (const TaskItem& item : Make(task, options).items) numbers.insert(item.row);
    return numbers;
  };
  const std::set<size_t> calibration = rows_of(RowPool::kCalibration, 1, 0.5);
  const std::set<size_t> scored = rows_of(RowPool::kScored, 1, 0.5);
  EXPECT_EQ(calibration.size() + scored.size(), 40u);
  for (size_t row : calibration) EXPECT_FALSE(scored.contains(row)) << row;
  EXPECT_NE(calibration, rows_of(RowPool::kCalibration, 2, 0.5));
  EXPECT_EQ(rows_of(RowPool::kCalibration, 1, 1).size(), 40u);
  EXPECT_EQ(rows_of(RowPool::kScored, 1, 0).size(), 40u);
  EXPECT_THAT(ErrorOf([&] { rows_of(RowPool::kScored, 1, 1); }), HasSubstr("got none"));
}

TEST(PoolOf, DependsOnTheRowsPlaceNotOnItsText) {
  SourcedRow one, other;
  one.index = other.index = 7;
  one.row = {{"q", "a"}};
  other.row = {{"q", "b"}};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(PoolOf(one, "set", seed, 0.5), PoolOf(other, "set", seed, 0.5));
  }
}

// Keys of stages do not know where files are, so pools must not depend on it.
TEST_F(Items, PoolsOfTheUsersRowsDependOnTheirContentAlone) {
  const auto pool_name = [&](const std::string& file, std::string_view text) {
    std::filesystem::create_directories((folder_ / file).parent_path());
    const std::string path = folder_.Write(file, text).string();
    return PoolNameOf(TaskOf(kAnswer, StrCat("set: ", path, ", split: all")), "all",
                      folder_.path());
  };
  const std::string rows = "{\"q\": \"a\", \"gold\": 0}\n";
  const std::string here = pool_name("here/rows.jsonl", rows);
  EXPECT_EQ(pool_name("there/rows.jsonl", rows), here);
  EXPECT_EQ(pool_name("there/others.ndjson", rows), here);
  EXPECT_NE(pool_name("here/more.jsonl", rows + rows), here);
  EXPECT_NE(pool_name("here/rows.txt", rows), here);  // a row is a line, whatever it says

  // Those of sets that are compiled in are drawn by the set's name.
  Rows({});
  EXPECT_EQ(PoolNameOf(TaskOf(kAnswer), "val", folder_.path()), "hellaswag");
}

TEST_F(Items, OtherSplitsAreInTheNameOfAResult) {
  const Task task = TaskOf(StrCat("shots: {split: train, separator: \"|\"}\n", kAnswer));
  const auto variant = [&](const std::string& split, const std::string& shot_split, size_t shots) {
    ItemOptions options;
    options.split = split;
    options.shot_split = shot_split;
    options.shots = shots;
    return SplitVariant(task, options);
  };
  EXPECT_EQ(variant("", "", 2), "");
  EXPECT_EQ(variant("val", "train", 2), "");
  EXPECT_EQ(variant("train", "", 0), "+split-train");
  EXPECT_EQ(variant("val[:3]", "", 2), "+split-val[:3]");
  EXPECT_EQ(variant("", "train[:2]", 2), "+fewshot-split-train[:2]");
  EXPECT_EQ(variant("", "train[:2]", 0), "");  // no examples are read
  EXPECT_EQ(variant("val[:1]", "train[:2]", 1), "+split-val[:1]+fewshot-split-train[:2]");
}

TEST(Shots, AreGivenFromTheFirstOn) {
  Shots shots;
  shots.header = "H ";
  shots.texts = {"a|", "b|"};
  EXPECT_EQ(shots.Prompt(0), "H ");
  EXPECT_EQ(shots.Prompt(1), "H a|");
  EXPECT_EQ(shots.Prompt(2), "H a|b|");
}

TEST_F(Items, TheFirstMissingFileIsNamed) {
  const Task plain = TaskOf(StrCat("shots: {split: train, default: 0}\n", kAnswer));
  const auto missing = [&](const Task& task, size_t shots) {
    ItemOptions options;
    options.shots = shots;
    return MissingTaskFile(task, options, folder_.path());
  };
  const auto path = [&](std::string_view name) { return (folder_ / name).string(); };
  EXPECT_EQ(missing(plain, 0), path("hellaswag/hellaswag_val.jsonl"));
  Rows({});
  EXPECT_EQ(missing(plain, 0), "");
  EXPECT_EQ(missing(plain, 1), path("hellaswag/hellaswag_train.jsonl"));
  Examples({});
  EXPECT_EQ(missing(plain, 1), "");

  const Task with_header = TaskOf(StrCat("header: {file: head.txt}\n", kAnswer));
  EXPECT_EQ(missing(with_header, 0), path("head.txt"));
  folder_.Write("head.txt", "");
  EXPECT_EQ(missing(with_header, 0), "");

  // A header for each subset that is asked.
  WriteRows("arc/ARC-Challenge-Dev.jsonl", {});
  WriteRows("arc/ARC-Easy-Dev.jsonl", {});
  const std::string header = StrCat("header: {file: \"head-{subset}.txt\"}\n", kAnswer);
  EXPECT_EQ(missing(TaskOf(header, "set: arc, split: dev"), 0), path("head-Challenge.txt"));
  EXPECT_EQ(missing(TaskOf(header, "set: arc, split: dev, subsets: [Easy]"), 0),
            path("head-Easy.txt"));

  const Task with_pieces = TaskOf(
      "kind: generation\ncontext: \"{q}\"\ngenerate: {bleu: spm, bleu_pieces: flores.model}\n"
      "references: [\"{q}\"]\nmetrics: [bleu]\n");
  EXPECT_EQ(missing(with_pieces, 0), path("flores.model"));
}

}  // namespace
}  // namespace qualm
