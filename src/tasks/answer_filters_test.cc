#include "tasks/answer_filters.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "io/yaml.h"
#include "metrics/text_metrics.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "tasks/task.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

// --- the harness's own answers

// What is left of a case's texts, in the form of the golden files: {"error": ...} where it refuses.
Json Outcome(const Json& one) {
  const Json& input = one["input"];
  Json row = Json::object();
  if (input.contains("choices")) row["choices"] = input["choices"];
  try {
    const AnswerFilter filter("golden", Yaml::Parse(one["options"]["filters"].dump(), "golden"));
    return filter.Apply(input["responses"].get<std::vector<std::string>>(), {row, "golden"});
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

TEST(AnswerFilters, LeaveWhatTheHarnessLeaves) {
  QUALM_SHARED_OR_SKIP(folder, "golden/filters");
  size_t cases = 0, files = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".json" || file.path().stem() == "scores") continue;
    ++files;
    for (const Json& one : ReadJsonFile(file.path())) {
      ++cases;
      const Json outcome = Outcome(one), &expected = one["expected"];
      const bool both_refuse = outcome.is_object() && expected.is_object();
      EXPECT_TRUE(both_refuse || outcome == expected) << one.dump() << "\nours: " << outcome.dump();
    }
  }
  EXPECT_GE(files, 4u);
  EXPECT_GT(cases, 200u);
}

// --- whole tasks of the harness, in our form

struct HarnessTask {
  const char* path;  // in lm_eval/tasks
  const char* filters;
  const char* metric;
};

constexpr const char* kGsm8kMetric =
    R"yaml({metric: exact_match, ignore_case: true, ignore_punctuation: false,
        regexes_to_ignore: [",", "\\$", "(?s).*#### ", "\\.$"]})yaml";

constexpr const char* kGsm8k = R"yaml(
strict-match:
- {function: regex, regex_pattern: "#### (\\-?[0-9\\.\\,]+)"}
- {function: take_first}
flexible-extract:
- {function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
- {function: take_first})yaml";

constexpr const char* kGsm8kCot = R"yaml(
strict-match:
- {function: regex, regex_pattern: "The answer is (\\-?[0-9\\.\\,]+)."}
- {function: take_first}
flexible-extract:
- {function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
- {function: take_first})yaml";

constexpr const char* kBbh = R"yaml(
strict-match: [{function: take_first}]
flexible-extract:
- {function: regex, group_select: 0, regex_pattern: "\\b(True|False)\\b"}
- {function: take_first})yaml";

constexpr HarnessTask kHarnessTasks[] = {
    {"gsm8k/gsm8k.yaml", kGsm8k, kGsm8kMetric},
    {"gsm8k/gsm8k-cot.yaml", kGsm8kCot, kGsm8kMetric},
    {"triviaqa/default.yaml",
     "remove_whitespace: [{function: remove_whitespace}, {function: take_first}]",
     "{metric: exact_match, ignore_case: true, ignore_punctuation: true}"},
    {"bbh/zeroshot/boolean_expressions.yaml", kBbh,
     R"yaml({metric: exact_match, ignore_case: true,
         regexes_to_ignore: ["\\.$", ",", "\n", "\\\\", '"']})yaml"},
    {"hendrycks_math/hendrycks_math_algebra.yaml", "none: [{function: take_first}]",
     "math_in_dollars"},
};

// Filters and metric in one task's text.
Task TaskOf(const HarnessTask& harness) {
  std::string filters = StrCat("\n", harness.filters);
  for (size_t at = 0; (at = filters.find('\n', at)) != std::string::npos; at += 3) {
    filters.replace(at, 1, "\n  ");
  }
  return ParseTask(StrCat("name: t\ntitle: t\nkind: generation\n"
                          "data: {set: gsm8k, split: test}\ncontext: q\ngenerate: {}\n"
                          "references: [r]\nmetrics:\n- ",
                          harness.metric, "\nfilters:", filters, "\n"),
                   harness.path);
}

TEST(AnswerFilters, WholeTasksScoreAsInTheHarness) {
  QUALM_SHARED_OR_SKIP(file, "golden/filters/scores.json");
  size_t cases = 0;
  for (const HarnessTask& harness : kHarnessTasks) {
    const Task task = TaskOf(harness);
    const TextMetric& metric = *FindTextMetric(task.metrics[0]);
    MetricOptions options;
    if (task.generation.exact_match) options.exact_match = &*task.generation.exact_match;
    for (const Json& one : ReadJsonFile(file)) {
      if (one["options"]["task"] != harness.path) continue;
      const Json& target = one["input"]["target"];
      const auto references = target.is_array() ? target.get<std::vector<std::string>>()
                                                : std::vector{target.get<std::string>()};
      const std::vector<std::string> texts = {one["input"]["response"].get<std::string>()};
      Json scored = Json::object();
      for (const AnswerFilter& filter : task.generation.filters) {
        const Json left = filter.Apply(texts, {Json::object(), "golden"});
        scored[filter.name()] = {{"text", left},
                                 {"exact_match", metric.count(left.get_ref<const std::string&>(),
                                                              references, options)[0]}};
      }
      ++cases;
      EXPECT_EQ(scored, one["expected"]) << one.dump();
    }
  }
  EXPECT_EQ(cases, ReadJsonFile(file).size());
  EXPECT_GT(cases, 50u);
}

// --- functions one by one

Json Left(std::string_view functions, const std::vector<std::string>& texts,
          const Json& row = Json::object()) {
  return AnswerFilter("f", Yaml::Parse(functions, "t.yaml")).Apply(texts, {row, "row 3"});
}

struct FunctionCase {
  const char* functions;
  std::vector<std::string> texts;
  const char* left;  // JSON
};

const FunctionCase kCases[] = {
    {"[{function: regex, regex_pattern: '(\\d)'}]", {"a1b2", "c"}, R"(["1", "[invalid]"])"},
    {"[{function: regex, regex_pattern: '(a)|(b)', group_select: -1}]", {"a b"}, R"(["b"])"},
    {"[{function: regex, regex_pattern: '(x)?(y)?', fallback: ' no '}]", {"z"}, R"(["no"])"},
    {"[{function: regex, regex_pattern: x, fallback: ' no '}]", {"z"}, R"([" no "])"},
    {"[{function: regex, regex_pattern: x, fallback: null}]", {"z"}, "[null]"},
    {"[{function: regex}]", {"so\n#### 1,5"}, R"(["1,5"])"},  // GSM8K's pattern by default
    {"[{function: regex_pos}]",
     {"[('a', 'DET'), ('b', 'N')]", ""},
     R"([["DET", "N"], ["invalid"]])"},
    {"[{function: regex_pos, fallback: [x, y]}]", {""}, R"([["x", "y"]])"},
    {"[{function: remove_whitespace}]", {" \u3000a b\n"}, R"(["a b"])"},
    {"[{function: lowercase}]", {"\u00c9\u03a3"}, "[\"\u00e9\u03c2\"]"},
    {"[{function: uppercase}]", {"stra\u00dfe"}, R"(["STRASSE"])"},
    {"[{function: map, mapping_dict: {a: b}}]", {"a", "c"}, R"(["b", null])"},
    {"[{function: map, mapping_dict: {a: b}, default_value: -1}]", {"c"}, R"(["-1"])"},
    {"[{function: map, mapping_dict: {a: b}}, {function: regex, regex_pattern: .}]",
     {"c"},
     R"(["[invalid]"])"},  // a missing value is an empty text to regex
    {"[{function: format_span}]",
     {"Person: Ann, none $$ Time: now"},
     R"(["per: ann $ date: now"])"},
    {"[{function: majority_vote}]", {"b", "a", "a", "b"}, R"(["b"])"},
    {"[{function: take_first_k, k: 2}]", {"a", "b", "c"}, R"(["a", "b"])"},
    {"[{function: take_first}]", {"ab", "c"}, R"("ab")"},
    // What follows take_first sees characters, as polemo2_in of the harness needs it.
    {"[{function: take_first}, {function: map, mapping_dict: {A: 0}}, {function: take_first}]",
     {"A"},
     R"("0")"},
    {"[{function: take_first}, {function: take_first_k, k: 1}]", {"\u00e9b"}, "\"\u00e9\""},
    {"[{function: template, text: '{generated|lower} {q}'}]", {"A", "B"}, R"(["a 5", "b 5"])"},
    {"[]", {"a"}, R"(["a"])"},
};

TEST(AnswerFilters, DoWhatTheirNamesSay) {
  for (const FunctionCase& one : kCases) {
    EXPECT_EQ(Left(one.functions, one.texts, {{"q", 5}}), Json::parse(one.left)) << one.functions;
  }
}

TEST(AnswerFilters, EachFunctionHasACase) {
  for (const AnswerFunctionEntry& entry : AllAnswerFunctions()) {
    if (std::string_view(entry.name) == "multi_choice_regex") continue;  // has tests below
    const std::string named = StrCat("{function: ", entry.name);
    EXPECT_TRUE(std::ranges::any_of(kCases, [&](const FunctionCase& one) {
      return std::string_view(one.functions).find(named) != std::string_view::npos;
    })) << named;
  }
}

TEST(AnswerFilters, MultiChoiceFallsBackToTextsAndLetters) {
  const auto letter = [](const std::string& text, const Json& choices, std::string_view more = "") {
    return Left(StrCat("[{function: multi_choice_regex, regex_pattern: '(\\([A-Z]\\))'", more,
                       "}, {function: take_first}]"),
                {text}, {{"choices", choices}});
  };
  const Json films = {"Guilty", "Guilty of Romance", "x.y"};
  EXPECT_EQ(letter("so (B) it is", films), "(B)");
  EXPECT_EQ(letter("It is Guilty of Romance", films), "(B)");  // the longest choice wins
  EXPECT_EQ(letter("x.y", films), "(C)");
  EXPECT_EQ(letter("xzy", films), "[invalid]");  // choices are texts, not patterns
  EXPECT_EQ(letter("answer:  C", films), "(C)");
  EXPECT_EQ(letter("answer: D", films), "[invalid]");
  EXPECT_EQ(letter("GUILTY!", films, ", ignore_case: true"), "(A)");
  EXPECT_EQ(letter("xy", films, ", ignore_punctuation: true"), "(C)");
  EXPECT_EQ(letter("Guil1ty", films, ", regexes_to_ignore: ['\\d']"), "(A)");
  EXPECT_THAT(ErrorOf([&] { (void)letter("a", "b"); }),
              HasSubstr("[row 3] expected a list 'choices' of at most 26 texts"));
  EXPECT_THAT(ErrorOf([&] { (void)Left("[{function: multi_choice_regex}]", {"a"}); }),
              HasSubstr("multi_choice_regex; got none"));
}

TEST(AnswerFilters, SayWhatIsMissingWhereTheHarnessFails) {
  const auto error = [](std::string_view functions, const std::vector<std::string>& texts) {
    return ErrorOf([&] { (void)Left(functions, texts); });
  };
  EXPECT_EQ(error("[{function: regex, regex_pattern: a, group_select: 2}]", {"aa"}),
            "[row 3] expected a match number 2 (group_select); got 2 matches");
  EXPECT_EQ(error("[{function: take_first}]", {}),
            "[row 3] expected a text for take_first; got none");
  EXPECT_EQ(error("[{function: majority_vote}]", {}),
            "[row 3] expected a text for majority_vote; got none");
  EXPECT_EQ(
      error("[{function: take_first_k, k: 2}]", {"a"}),
      "[row 3] expected at least 2 texts for take_first_k; got 1; 'samples' says how many are "
      "generated");
  EXPECT_EQ(error("[{function: map}, {function: lowercase}]", {"a"}),
            "[row 3] expected a text for the next function of a filter; got null");
  EXPECT_THAT(error("[{function: map}, {function: take_first}, {function: lowercase}]", {"a"}),
              HasSubstr("got null; 'map' needs a default_value"));
}

TEST(AnswerFilters, PredictionsAreTexts) {
  const auto predictions = [](std::string_view functions) {
    const std::vector<std::string> texts = {"a", "b"};
    return AnswerFilter("f", Yaml::Parse(functions, "t.yaml"))
        .Predictions(texts, {Json::object(), "row 3"});
  };
  EXPECT_THAT(predictions("[]"), ElementsAre("a", "b"));
  EXPECT_THAT(predictions("[{function: take_first}]"), ElementsAre("a"));
  EXPECT_THAT(ErrorOf([&] { (void)predictions("[{function: map}]"); }),
              HasSubstr("[row 3] expected texts after the filter f; got null"));
  EXPECT_THAT(ErrorOf([&] { (void)predictions("[{function: take_first_k, k: 0}]"); }),
              HasSubstr("expected a text after f; got none"));
}

TEST(AnswerFilters, AreReadStrictly) {
  const auto error = [](std::string_view filters) {
    return ErrorOf([&] { (void)ReadAnswerFilters(Yaml::Parse(filters, "t.yaml")); });
  };
  EXPECT_THAT(error("{a: [{function: regx}]}"),
              HasSubstr("unknown function of filters 'regx'; did you mean 'regex'?"));
  EXPECT_THAT(error("{a: [{function: regex, patern: x}]}"), HasSubstr("'patern'"));
  EXPECT_THAT(error("{a: [{function: regex, regex_pattern: '('}]}"),
              HasSubstr("[t.yaml:1] expected a regular expression of Python"));
  EXPECT_EQ(error("{a: [{function: custom}]}"),
            "[t.yaml:1] expected a function that is data; got 'custom', which runs Python code");
  EXPECT_THAT(error("{a: [{function: decontaminate}]}"), HasSubstr("'decontaminate'"));
  EXPECT_THAT(error("a: [{function: !function utils.F}]"), HasSubstr("got !function utils.F"));
  EXPECT_THAT(error("{}"), HasSubstr("expected a filter; got none"));
  EXPECT_THAT(error("{'a,b': []}"), HasSubstr("without blanks and commas; got 'a,b'"));
  EXPECT_THAT(error("{a: [{function: take_first_k}]}"), HasSubstr("'k'"));
}

}  // namespace
}  // namespace qualm
