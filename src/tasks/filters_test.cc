#include "tasks/filters.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "support/errors.h"
#include "tasks/template.h"

namespace qualm {
namespace {

using testing::ErrorOf;

// A text through filters as a template names them: "before:_|strip".
std::string Filtered(std::string_view filters, const std::string& text) {
  return Template(StrCat("{t|", filters, "}"), "t").Render({{"t", text}}, "row");
}

struct FilterCase {
  const char* filters;
  const char* text;
  const char* expected;
};

// At least one usual and one unusual text for every filter; expected texts are worked by hand.
constexpr FilterCase kCases[] = {
    {"strip", " \t a b\r\n", "a b"},
    {"strip", " \n", ""},
    {"lower", "AbC 1", "abc 1"},
    {"lower", "Ä", "Ä"},  // ASCII only
    {"capitalize", "hELLO wORLD", "Hello world"},
    {"capitalize", "", ""},
    {"first_upper", "abC", "AbC"},
    {"first_upper", "", ""},
    {"first_lower", "ABc", "aBc"},
    {"first_lower", "", ""},
    {"before:_", "a_b_c", "a"},
    {"before:_", "abc", "abc"},
    {"after:_", "a_b_c", "b_c"},
    {"after:_", "abc", ""},
    {"after_last:_", "a_b_c", "c"},
    {"after_last:_", "abc", "abc"},
    {"first_line", "\n  one \r\ntwo", "one"},
    {"first_line", " \n ", ""},
    {"without_end:?", "so?", "so"},
    {"without_end:?", "so? yes", "so? yes"},
    {"boxed", "\\boxed{1} so \\boxed{a{b}c}.", "a{b}c"},
    {"boxed", "nothing", ""},
    {"number", "$1,200.50", "1200.5"},
    {"number", " about 3 ", "about 3"},
    {"last_number", "3-2 = 1, or -4.", "-4"},
    {"last_number", "none", ""},
    {"letter:ABCD", "The answer is (B).", "B"},
    {"letter:ABCD", "A1 or 2B or CD", ""},
    {"letter:ABCD", "I think it is D", "D"},  // the pronoun is not an option
    {"letter:ABCDEFGHIJ", "(I)", "I"},
    {"replace:X:y", "aXbX", "ayby"},
    {"replace::y", "aXb", "aXb"},  // nothing occurs nowhere
    {"spaces", "a_b__c", "a b  c"},
    {"hellaswag", " a [title] b [x] c ", "a. b c"},
    {"hellaswag", "a [x", "a [x"},
    {"wikitext", " = A = \n \n He said : \" yes \" ( no ) , 1 @,@ 000 .",
     " = A =\n\nHe said: \"yes\" (no), 1,000 ."},
    {"wikitext", "/' 5/ s ' N ( open", "/'[0-9]/ s' 1 ( open"},
    {"python_bytes", "b'a\\tb\\rc\\\\d'", "a\tb\rc\\d"},
    {"python_bytes", "b'\\xc3\\xa4'", "\xc3\xa4"},
    {"python_bytes", "b'\\xZZ'", "xZZ"},  // not two digits
    {"python_bytes", "b'\\x4'", "x4"},    // cut off
    {"python_bytes", "b'a\\'", "a\\"},    // a backslash at the end stays
    {"python_bytes", "b'a\"", "b'a\""},   // other quotes at the end
    {"python_bytes", "b'", "b'"},         // too short
    {"python_bytes", "x'a'", "x'a'"},     // other letter
    {"map:0=no:1=yes", "1", "yes"},
    {"map:0=no:1=yes", "2", "2"},
    {"map:junk:a=b=c", "a", "b=c"},  // what has no sign is skipped; the first sign counts
    {"mean_at_least:3", "2 4", "yes"},
    {"mean_at_least:3", "2 3.5", "no"},
    {"mean_above:3", "2 4", "no"},
    {"mean_above:3", "2 4.5", "yes"},
    {"between:3:5", "3", "3"},
    {"between:3:5", "5", "5"},
    {"between:3:5", "5.5", ""},
    {"between:3:5", "2", ""},
    {"follow_rules", "example x 1 2", "example x 1 2"},
    {"follow_rules", "example x 1 0", ""},  // level 0 has no constraint
    {"follow_rules", "example x 1", ""},
    {"follow_rules", "nothing unknown 1 2", ""},
    {"multiple_of:3", "6", "yes"},
    {"multiple_of:3", "7", ""},
    {"only:a:b", "b", "b"},
    {"only:a:b", "c", ""},
};

TEST(TemplateFilters, DoWhatTheirNamesSay) {
  for (const FilterCase& one : kCases) {
    EXPECT_EQ(Filtered(one.filters, one.text), one.expected) << one.filters << " of " << one.text;
  }
}

TEST(TemplateFilters, EachHasACase) {
  std::set<std::string> tested;
  for (const FilterCase& one : kCases) tested.insert(Split(one.filters, ':')[0]);
  for (const std::string& name : TemplateFilterNames()) {
    EXPECT_TRUE(tested.contains(name)) << name;
  }
  EXPECT_EQ(tested.size(), AllTemplateFilters().size());
}

TEST(TemplateFilters, ActFromLeftToRight) {
  EXPECT_EQ(Filtered("before:_|lower|first_upper", "ABC_d"), "Abc");
}

TEST(TemplateFilters, RefuseWhatIsNoFiniteNumber) {
  EXPECT_EQ(ErrorOf([] { Filtered("between:3:5", "x"); }),
            "[filter between] expected a number; got 'x'");
  EXPECT_EQ(ErrorOf([] { Filtered("between:3:y", "4"); }),
            "[filter between] expected a number; got 'y'");
  EXPECT_EQ(ErrorOf([] { Filtered("mean_above:3", "1  2"); }),  // two blanks: nothing between them
            "[filter mean_above] expected a number; got ''");
  EXPECT_EQ(ErrorOf([] { Filtered("mean_at_least:inf", "1"); }),
            "[filter mean_at_least] expected a number; got 'inf'");
  EXPECT_EQ(ErrorOf([] { Filtered("multiple_of:3", "1e999"); }),
            "[filter multiple_of] expected a number; got '1e999'");
  EXPECT_EQ(ErrorOf([] { Filtered("multiple_of:3", "4a"); }),
            "[filter multiple_of] expected a number; got '4a'");
}

}  // namespace
}  // namespace qualm
