#include "tokenize/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::BadInputFrom;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  Regex regex(pattern, "test");
  Regex::Scanner scanner(regex);
  scanner.Start(text);
  std::vector<std::string> matches;
  size_t begin = 0, end = 0;
  while (scanner.Next(&begin, &end)) matches.emplace_back(text.substr(begin, end - begin));
  return matches;
}

TEST(Regex, FindsUnicodeLettersAndNumbers) {
  EXPECT_THAT(Matches("\\p{L}+|\\p{N}", "Größe 12 我想"), ElementsAre("Größe", "1", "2", "我想"));
  EXPECT_THAT(Matches("(?i:'s|'ll)", "he's we'LL"), ElementsAre("'s", "'LL"));
}

TEST(Regex, WhiteSpaceIsUnicodesNotPcres) {
  // U+180E was white space until Unicode 6.3; PCRE2 still says so. U+0085 and U+3000 are.
  EXPECT_THAT(Matches("\\s", "\u180e \u0085\u3000"), ElementsAre(" ", "\u0085", "\u3000"));
  EXPECT_THAT(Matches("\\S", "\u180e "), ElementsAre("\u180e"));
  EXPECT_THAT(Matches("[^\\sx]", "\u180ex "), ElementsAre("\u180e"));
  EXPECT_THAT(Matches("[\\S]", "\u180e "), ElementsAre("\u180e"));
}

TEST(Regex, WordCharactersIncludeMarks) {
  EXPECT_THAT(Matches("\\w+", "a\u0301_1-b"), ElementsAre("a\u0301_1", "b"));
  EXPECT_THAT(Matches("\\W", "a\u0301-"), ElementsAre("-"));
  EXPECT_THAT(Matches("[\\W]", "a\u0301- "), ElementsAre("-", " "));
  EXPECT_THAT(Matches("[\\w-]+", "a-b c"), ElementsAre("a-b", "c"));
}

TEST(Regex, DigitsAndHexDigitsAreOnigurumas) {
  EXPECT_THAT(Matches("\\d", "1٣Ⅷ"), ElementsAre("1", "٣"));
  EXPECT_THAT(Matches("\\h+", "fF0g \t"), ElementsAre("fF0"));
  EXPECT_THAT(Matches("\\H", "g1"), ElementsAre("g"));
  EXPECT_THAT(Matches("[\\D]", "a1"), ElementsAre("a"));
}

TEST(Regex, AnchorsMatchAtEveryLine) {
  EXPECT_THAT(Matches("^.", "ab\ncd"), ElementsAre("a", "c"));
  EXPECT_THAT(Matches(".$", "ab\ncd"), ElementsAre("b", "d"));
}

TEST(Regex, EmptyMatchesMoveOn) {
  EXPECT_THAT(Matches("x*", "axé"), ElementsAre("", "x", ""));
  EXPECT_THAT(Matches("", "é"), ElementsAre("", ""));
}

TEST(Regex, OneScannerReadsSeveralTexts) {
  Regex regex("a", "test");
  Regex::Scanner scanner(regex);
  size_t begin = 0, end = 0;
  scanner.Start("ba");
  EXPECT_TRUE(scanner.Next(&begin, &end));
  EXPECT_FALSE(scanner.Next(&begin, &end));
  scanner.Start("a");
  EXPECT_TRUE(scanner.Next(&begin, &end));
  EXPECT_EQ(begin, 0u);
}

TEST(Regex, DeepBacktrackingFindsItsMatchOnLongTexts) {
  // Every turn of the group keeps a place to come back to: far more than the first stack holds.
  std::string text(200'000, 'a');
  EXPECT_THAT(Matches("(?:a|b)+", text), ElementsAre(text));
}

TEST(Regex, BracketsAtTheBeginningOfAClassAreOrdinary) {
  EXPECT_THAT(Matches("[]a]+", "]a["), ElementsAre("]a"));
  EXPECT_THAT(Matches("[^]a]+", "]ab"), ElementsAre("b"));
  EXPECT_THAT(Matches("[[:upper:]]", "aB"), ElementsAre("B"));
  EXPECT_THAT(Matches("[\\[\\]]", "a[]"), ElementsAre("[", "]"));
}

TEST(Regex, MistakesAreNamedWithTheirPlace) {
  EXPECT_THAT(BadInputFrom([] { Regex("a(b", "file.json"); }),
              HasSubstr("[file.json] expected a regular expression; got a(b: missing closing"));
  EXPECT_NE(BadInputFrom([] { Regex("\\p{Nonsense}", "x"); }), "");
  EXPECT_NE(BadInputFrom([] { Regex("\\C", "x"); }), "");
}

TEST(Regex, WhatPcreReadsDifferentlyIsRewritten) {
  EXPECT_THAT(Matches("[a-z&&[^b]]", "abC"), ElementsAre("a"));
  EXPECT_THAT(Matches("[^a-z&&[^b]]", "abC"), ElementsAre("b", "C"));
  EXPECT_THAT(Matches("[a[bc]]+", "abcd"), ElementsAre("abc"));
  EXPECT_THAT(Matches("(?m:a.b)", "a\nb"), ElementsAre("a\nb"));
  EXPECT_THAT(Matches("(?m-i)a.", "a\nA"), ElementsAre("a\n"));
  EXPECT_THAT(Matches("a{,2}b", "aab"), ElementsAre("aab"));
  // A plus repeats the interval once more, so all digits are one match.
  EXPECT_THAT(Matches("\\p{N}{1,3}+", "12345"), ElementsAre("12345"));
  EXPECT_THAT(Matches("(?:ab){2}+c", "ababababc"), ElementsAre("ababababc"));
  EXPECT_THAT(Matches("\\u4e2d", "中"), ElementsAre("中"));
  EXPECT_THAT(Matches("\\p{Letter}", "a1"), ElementsAre("a"));
  EXPECT_THAT(Matches("\\p{^Lu}", "aB"), ElementsAre("a"));
  EXPECT_THAT(Matches("[[:punct:]]", "a.$"), ElementsAre(".", "$"));
  EXPECT_THAT(Matches("\\b.", "a½ b"), ElementsAre("a", " ", "b"));
  // Oniguruma's own table for Latin-1 holds outside of brackets only.
  EXPECT_THAT(Matches("\\w", "½①Ⓐ"), ElementsAre("½", "Ⓐ"));
  EXPECT_THAT(Matches("[\\w]", "½①Ⓐ"), ElementsAre("Ⓐ"));
}

TEST(Regex, WhatPcreCannotDoIsRefused) {
  EXPECT_THAT(BadInputFrom([] { Regex("\\y", "x"); }), HasSubstr("got \\y in \\y"));
  EXPECT_THAT(BadInputFrom([] { Regex("(?~ab)", "x"); }), HasSubstr("(?~...)"));
  EXPECT_THAT(BadInputFrom([] { Regex("[[:alpha", "x"); }), HasSubstr("[:name:]"));
  EXPECT_THAT(BadInputFrom([] { Regex("[[:alfa:]]", "x"); }), HasSubstr("[:alfa:]"));
  EXPECT_THAT(BadInputFrom([] { Regex(std::string(1000, '['), "x"); }), HasSubstr("more than 32"));
}

TEST(Regex, AHopelessPatternGivesUp) {
  std::string message =
      BadInputFrom([] { Matches("(a+)+$|(?:(a+)+b)", StrCat(std::string(40, 'a'), "c")); });
  EXPECT_THAT(message, HasSubstr("bounded time"));
}

}  // namespace
}  // namespace qualm
