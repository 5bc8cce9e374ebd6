#include "metrics/python_regex.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/json.h"
#include "metrics/python_text.h"
#include "support/errors.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

std::vector<Json> LinesOf(const char* name) {
  const std::string text =
      ReadFile(testing::SourceRoot() / "tests/data/python" / name, uint64_t{1} << 20);
  std::vector<Json> lines;
  for (const std::string& line : Split(text, '\n')) {
    if (!line.empty()) lines.push_back(ParseJson(line, name));
  }
  return lines;
}

std::vector<std::vector<std::string>> Find(std::string_view pattern, std::string_view text) {
  return PythonRegex(pattern, "t").FindAll(text);
}

// tools/make_python_cases.py makes the cases with Python itself.
TEST(PythonRegex, FindsWhatPythonFinds) {
  const std::vector<Json> lines = LinesOf("regex.jsonl");
  ASSERT_GT(lines.size(), 500u);
  const Json& texts = lines[0];
  size_t compared = 0, unequal = 0, refused = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto pattern = lines[i][0].get<std::string>();
    const std::string error = ErrorOf([&] { PythonRegex(pattern, "t"); });
    if (lines[i][1] == "error") {
      EXPECT_NE(error, "no error") << pattern;
      ++refused;
      continue;
    }
    if (error.find("means here what it means") != std::string::npos) {
      ++unequal;
      continue;
    }

    ASSERT_EQ(error, "no error") << pattern;
    const PythonRegex regex(pattern, "t");
    for (const auto& [number, matches] : lines[i][1].items()) {
      const auto text = texts[std::stoul(number)].get<std::string>();
      EXPECT_EQ(Json(regex.FindAll(text)), matches) << "'" << pattern << "' in '" << text << "'";
      ++compared;
    }
  }
  EXPECT_GT(compared, 3000u);
  EXPECT_GT(refused, 100u);
  // Surrogates; this number may only become smaller.
  EXPECT_LE(unequal, 2u);
}

TEST(PythonRegex, ReplacesWhatItFinds) {
  EXPECT_EQ(PythonRegex(",", "t").ReplaceAll("1,234,5", ""), "12345");
  EXPECT_EQ(PythonRegex("(?s).*#### ", "t").ReplaceAll("so\n#### 18", ""), "18");
  EXPECT_EQ(PythonRegex("\\.$", "t").ReplaceAll("a.b.", ""), "a.b");
  EXPECT_EQ(PythonRegex("a*", "t").ReplaceAll("baac", "-"), "-b--c-");  // re.sub's answer
}

TEST(PythonRegex, MalformedBytesAreReplacementCharacters) {
  EXPECT_THAT(Find(".", "a\xff"), ElementsAre(ElementsAre("a"), ElementsAre("\xef\xbf\xbd")));
}

TEST(PythonRegex, NamesWhatItRefuses) {
  EXPECT_EQ(ErrorOf([] { PythonRegex("a**", "t"); }),
            "[t] expected a regular expression of Python with one quantifier for each item; got "
            "'a**', position 3");
  EXPECT_THAT(ErrorOf([] { PythonRegex("\\N{DASH}", "t"); }),
              HasSubstr("a character by its name (\\N{...})"));
  EXPECT_THAT(ErrorOf([] { PythonRegex("(?i)(a)\\1", "t"); }),
              HasSubstr("a back reference that ignores case"));
  EXPECT_THAT(ErrorOf([] { PythonRegex("a{70000}", "t"); }),
              HasSubstr("more than 65535 repetitions"));
  EXPECT_THAT(ErrorOf([] { PythonRegex(std::string(200, '(') + std::string(200, ')'), "t"); }),
              HasSubstr("groups nested more than 100 deep"));
  EXPECT_THAT(ErrorOf([] { PythonRegex("(?:(?:a{999}){999}){999}", "t"); }),
              HasSubstr("a regular expression that PCRE2 can run"));
  EXPECT_THAT(ErrorOf([] { PythonRegex("a\xff", "t"); }), HasSubstr("in UTF-8"));
  EXPECT_THAT(ErrorOf([] { PythonRegex(std::string(20000, 'a'), "t"); }),
              HasSubstr("at most 16384 bytes"));
}

// A pattern of which every match is expensive and succeeds: the budget is one for the whole text.
TEST(PythonRegex, TheBudgetIsForTheWholeText) {
  const PythonRegex slow("(?:(?:a|a){18}b|a)", "t");
  EXPECT_EQ(slow.FindAll(std::string(8, 'a')).size(), 8u);
  EXPECT_THAT(ErrorOf([&] { (void)slow.FindAll(std::string(100, 'a')); }),
              HasSubstr("needs at most 10000000 steps for a text"));
  // Scanning counts, too: each match fails only at the end of the text.
  const PythonRegex scanning("a[^x]*(?:x|y)", "t");
  EXPECT_THAT(ErrorOf([&] { (void)scanning.FindAll(std::string(20000, 'a')); }),
              HasSubstr("steps for a text"));
}

TEST(PythonText, IsWhatStrMethodsMake) {
  const std::vector<Json> lines = LinesOf("texts.jsonl");
  ASSERT_GT(lines.size(), 30u);
  for (const Json& line : lines) {
    const auto text = line[0].get<std::string>();
    EXPECT_EQ(PythonLower(text), line[1].get<std::string>()) << text;
    EXPECT_EQ(PythonUpper(text), line[2].get<std::string>()) << text;
    EXPECT_EQ(PythonStrip(text), line[3].get<std::string>()) << text;
    EXPECT_EQ(PythonEscape(text), line[4].get<std::string>()) << text;
  }
}

TEST(PythonText, PunctuationIsThatOfUnicode) {
  EXPECT_EQ(WithoutUnicodePunctuation("a.b\u3002\u201cc\u201d $+"),
            "abc $+");  // $ and + are symbols
}

}  // namespace
}  // namespace qualm
