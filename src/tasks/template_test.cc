#include "tasks/template.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/rows.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

std::string Render(std::string_view text, const Json& scope) {
  return Template(text, "t").Render(scope, "row 3");
}

TEST(Template, FieldsFiltersAndBraces) {
  const Json scope = {{"q", " Who? "}, {"n", 3}, {"a", {{"b", {"x", "y"}}}}, {"s", "tell_it_now"}};
  EXPECT_EQ(Render("{q|strip} {n} {a.b.1} {{x}}", scope), "Who? 3 y {x}");
  EXPECT_EQ(Render("{s|spaces|capitalize}", scope), "Tell it now");
  EXPECT_EQ(Render("{s|before:_}/{s|after:_}", scope), "tell/it_now");
  EXPECT_EQ(Render("{s|replace:it:IT}", scope), "tell_IT_now");
  EXPECT_EQ(Render("{n|map:1=one:3=three}", scope), "three");
  EXPECT_EQ(Render("", scope), "");
}

TEST(Template, LoopsAndConditions) {
  const Json scope = {{"c", {{{"t", "red"}}, {{"t", "blue"}}}}, {"empty", ""}, {"zero", 0}};
  EXPECT_EQ(Render("{for x in c}{letter}. {x.t} {number}{index}\n{end}!", scope),
            "A. red 10\nB. blue 21\n!");
  EXPECT_EQ(Render("{if empty}no{end}{if zero}no{end}{if missing}no{end}{if c}yes{end}", scope),
            "yes");
  EXPECT_EQ(Render("{for x in c}{if index}, {end}{x.t}{end}", scope), "red, blue");
}

TEST(Template, AFilterOnWhatStandsInside) {
  const Json scope = {{"a", "Roof: [header]x"}, {"b", "go [title] on  it  "}};
  EXPECT_EQ(Render("{with hellaswag}{a} {b}{end}", scope), "Roof: x go. on it");
}

TEST(Template, HellaSwagTexts) {
  const auto clean = [](const char* text) { return Render("{t|hellaswag}", {{"t", text}}); };
  EXPECT_EQ(clean(" a [title] b"), "a. b");  // ". " for " [title]", then two blanks to one
  EXPECT_EQ(clean("a [step] b [x\n] c"), "a b [x\n] c");
  EXPECT_EQ(clean("a   b"), "a  b");  // one replacement, not repeated
}

TEST(Template, PythonBytesLiterals) {
  const auto bytes = [](const char* text) { return Render("{t|python_bytes}", {{"t", text}}); };
  EXPECT_EQ(bytes("b'it\\'s \\xe2\\x80\\x99 so'"), "it's \xe2\x80\x99 so");
  EXPECT_EQ(bytes("b\"a\\nb\""), "a\nb");
  EXPECT_EQ(bytes("plain"), "plain");
}

TEST(Template, NumbersAndChoicesOfRows) {
  const auto render = [](const char* text, const char* value) {
    return Render(text, {{"t", value}});
  };
  EXPECT_EQ(render("{t|mean_at_least:3}", "2 4"), "yes");
  EXPECT_EQ(render("{t|mean_at_least:3}", "2.5 3"), "no");
  EXPECT_EQ(render("{t|multiple_of:3}", "6"), "yes");
  EXPECT_EQ(render("{t|multiple_of:3}", "7"), "");
  EXPECT_EQ(render("{t|only:a:b}", "b"), "b");
  EXPECT_EQ(render("{t|only:a:b}", "c"), "");
  EXPECT_THAT(ErrorOf([&] { render("{t|mean_at_least:3}", "2 x"); }),
              HasSubstr("[filter mean_at_least] expected a number; got 'x'"));
  EXPECT_THAT(ErrorOf([&] { render("{t|multiple_of:3}", ""); }), HasSubstr("expected a number"));
}

TEST(Template, NumbersAndTruthValuesAreWrittenAsJson) {
  const Json scope = {{"half", 0.5}, {"yes", true}, {"minus", -3}};
  EXPECT_EQ(Render("{half} {yes} {minus}", scope), "0.5 true -3");
}

TEST(Template, NumbersThatAreNotFiniteAreWrittenAsPythonDoes) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(Render("{a} {b} {c}", {{"a", std::nan("")}, {"b", infinity}, {"c", -infinity}}),
            "nan inf -inf");
}

TEST(Template, AnUnreadableValueStopsOnlyWhoNeedsIt) {
  const Json scope = {{"q", "x"}, {"raw", UnreadableValue("bytes that are not UTF-8")}};
  EXPECT_EQ(Render("{q}", scope), "x");
  for (const char* text : {"{raw}", "{if raw}y{end}", "{for b in raw}{b}{end}"}) {
    EXPECT_THAT(ErrorOf([&] { Render(text, scope); }),
                HasSubstr("[row 3] expected a value in 'raw'; got bytes that are not UTF-8"))
        << text;
  }
}

TEST(Template, AConditionHoldsForWhatIsThereAndNeitherEmptyNorZero) {
  const Json scope = {{"text", "x"},
                      {"number", 0.5},
                      {"yes", true},
                      {"list", {0}},
                      {"object", {{"a", 1}}},
                      {"no", false},
                      {"zero", 0.0},
                      {"none", nullptr},
                      {"empty", ""},
                      {"no_list", Json::array()},
                      {"no_object", Json::object()}};
  for (const auto& [name, value] : scope.items()) {
    const bool is_given =
        name == "text" || name == "number" || name == "yes" || name == "list" || name == "object";
    EXPECT_EQ(Render("{if " + name + "}given{end}", scope), is_given ? "given" : "") << name;
  }
  EXPECT_EQ(Render("{if object.a}given{end}{if object.b}not{end}", scope), "given");
}

TEST(Template, InnerLoopsSeeTheOuterOnesAndHideTheRow) {
  const Json scope = {{"x", "row"},
                      {"outer", {{{"n", "a"}, {"inner", {1, 2}}}, {{"n", "b"}, {"inner", {3}}}}}};
  EXPECT_EQ(
      Render("{x}{for x in outer}{for y in x.inner} {x.n}{y}{letter}{end}{letter}{end}{x}", scope),
      "row a1A a2BA b3ABrow");
  EXPECT_EQ(Render("{for x in none}{x}{end}", {{"none", Json::array()}}), "");
}

TEST(Template, LettersStartAgainAfterZ) {
  Json scope;
  for (int i = 0; i < 27; ++i) scope["c"].push_back(i);
  EXPECT_EQ(Render("{for x in c}{letter}{end}", scope), "ABCDEFGHIJKLMNOPQRSTUVWXYZA");
}

TEST(Template, EightLevelsAreEnough) {
  const auto nested = [](int levels) {
    std::string text = "x";
    for (int i = 0; i < levels; ++i) text = "{if a}" + text + "{end}";
    return text;
  };
  EXPECT_EQ(Render(nested(8), {{"a", 1}}), "x");
  EXPECT_THAT(ErrorOf([&] { Template(nested(9), "t:1"); }),
              HasSubstr("[t:1] expected a template with at most 8 levels;"));
}

TEST(FindPath, GoesThroughObjectsAndLists) {
  const Json scope = {{"a", {{{"b", 7}}, "text"}}};
  EXPECT_EQ(*FindPath(scope, "a.0.b"), 7);
  EXPECT_EQ(*FindPath(scope, "a.1"), "text");
  for (const char* path : {"b", "a.2", "a.x", "a.0x", "a.-1", "a.1.c", "a.0.c", ""}) {
    EXPECT_EQ(FindPath(scope, path), nullptr) << path;
  }
}

TEST(Template, Uses) {
  const Template t("{with strip}{for x in c}{choice|lower}{end}{end}", "t");
  EXPECT_TRUE(t.Uses("choice"));
  EXPECT_TRUE(t.Uses("c"));
  EXPECT_FALSE(t.Uses("letter"));
  EXPECT_FALSE(t.IsConstant());
  EXPECT_TRUE(Template("good", "t").IsConstant());
}

TEST(Template, MistakesNameTheirPlace) {
  EXPECT_THAT(ErrorOf([] { Template("{a", "t:3"); }), HasSubstr("[t:3]"));
  EXPECT_THAT(ErrorOf([] { Template("a}", "t"); }), HasSubstr("}} for a brace"));
  EXPECT_THAT(ErrorOf([] { Template("{for x in c}", "t"); }), HasSubstr("{end}"));
  EXPECT_THAT(ErrorOf([] { Template("{end}", "t"); }), HasSubstr("without a beginning"));
  EXPECT_THAT(ErrorOf([] { Template("{a|stripp}", "t"); }), HasSubstr("did you mean 'strip'"));
  EXPECT_THAT(ErrorOf([] { Template("{a|before}", "t"); }), HasSubstr("1 arguments of before"));
  EXPECT_THAT(ErrorOf([] {
                Render("{qestion}", {{"question", "x"}});
              }),
              HasSubstr("[row 3] unknown field 'qestion'; did you mean 'question'"));
  EXPECT_THAT(ErrorOf([] { Render("{a}", {{"a", {1}}}); }), HasSubstr("text or a number in 'a'"));
  EXPECT_EQ(ErrorOf([] {
              Render("{a}", {{"a", nullptr}});
            }),
            "[row 3] expected text or a number in 'a'; got null");
  EXPECT_EQ(ErrorOf([] { Template("{}", "t"); }),
            "[t] expected a template with a field's name in braces; got {}");
  EXPECT_EQ(ErrorOf([] { Template("{for x of c}{end}", "t"); }),
            "[t] expected a template with {for NAME in LIST}; got for x of c");
  EXPECT_EQ(ErrorOf([] { Template("{with strip}a", "t"); }),
            "[t] expected a template with an {end} for every {for}, {if} and {with}; got none");
  EXPECT_THAT(ErrorOf([] { Template("{a|map}", "t"); }), HasSubstr("arguments of map; got 0"));
  EXPECT_THAT(ErrorOf([] { Template("{a|strip:b}", "t"); }),
              HasSubstr("0 arguments of strip; got 1"));
  EXPECT_EQ(ErrorOf([] {
              Render("{for x in q}{end}", {{"q", "text"}});
            }),
            "[row 3] expected a list in 'q'; got string");
}

}  // namespace
}  // namespace qualm
