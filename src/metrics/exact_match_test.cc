#include "metrics/exact_match.h"

#include <gtest/gtest.h>

namespace qualm {
namespace {

ExactMatchOptions Ignoring(std::initializer_list<const char*> regexes) {
  ExactMatchOptions options;
  for (const char* regex : regexes) options.regexes_to_ignore.emplace_back(regex, "t");
  return options;
}

TEST(ExactMatch, RegexesGoFirstAndInOrder) {
  // GSM8K's options in the harness.
  const ExactMatchOptions options = Ignoring({",", "\\$", "(?s).*#### ", "\\.$"});
  EXPECT_EQ(ComparedText("so\n#### $1,200.", options), "1200");
  EXPECT_EQ(ComparedText("18..", options), "18.");  // one point only
}

TEST(ExactMatch, CaseIsUnicodesAndPunctuationIsAscii) {
  ExactMatchOptions options;
  options.ignore_case = true;
  EXPECT_EQ(ComparedText("\u00c9A!", options), "\u00e9a!");
  options.ignore_punctuation = true;
  EXPECT_EQ(ComparedText("The U.S. \u201cA\u201d", options), "the us \u201ca\u201d");
}

TEST(ExactMatch, NumbersAreTheTenDigits) {
  ExactMatchOptions options;
  options.ignore_numbers = true;
  EXPECT_EQ(ComparedText("a1b\u0661", options), "ab\u0661");
}

TEST(ExactMatch, ZeroBytesAtTheEndAreLost) {
  EXPECT_EQ(ComparedText(std::string("a\0.\0\0", 5), {}), std::string("a\0.", 3));
}

}  // namespace
}  // namespace qualm
