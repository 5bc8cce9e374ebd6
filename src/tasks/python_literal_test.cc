// Literals against what Python's ast.literal_eval makes of them.
#include "tasks/python_literal.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace qualm {
namespace {

TEST(PythonLiteral, ReadsWhatPythonPrints) {
  const std::pair<const char*, const char*> cases[] = {
      {"['a', \"it's\"]", R"(["a", "it's"])"},
      {"[]", "[]"},
      {" [ 1 , -2, 3.5, 1e3, ] ", "[1, -2, 3.5, 1000.0]"},
      {"(1, 2)", "[1, 2]"},
      {"(1)", "1"},
      {"('a',)", R"(["a"])"},
      {"{'text': ['x'], 'n': None, 'ok': True, 'no': False}",
       R"({"text": ["x"], "n": null, "ok": true, "no": false})"},
      {R"('a\n\t\\\'\x41\u00e9\U0001F600\101\0')", R"("a\n\t\\'Aé😀A\u0000")"},
      {R"('\d')", R"("\\d")"},
      {R"(r'\n')", R"("\\n")"},
      {"'a' 'b'", R"("ab")"},
      {"'''two\nlines'''", R"("two\nlines")"},
      {"'数'", R"("数")"},
      {"00", "0"},
      {"12", "12"}};
  for (const auto& [text, json] : cases) {
    const std::optional<Json> value = ParsePythonLiteral(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(*value, Json::parse(json)) << text;
  }
}

TEST(PythonLiteral, RefusesWhatIsNoLiteral) {
  for (const char* text :
       {"",       "[",         "[1",  "[1 2]", "['a'",   "'a",     "'a\nb'",
        "a",      "[a]",       "007", "1 2",   "{1: 2}", "{'a'}",  "{'a': 1 'b': 2}",
        "'\\x4'", "'\\ud800'", "--1", "1.2.3", "nan",    "[1,,2]", "[,]",
        "f'a'",   "r"}) {
    EXPECT_FALSE(ParsePythonLiteral(text)) << text;
  }
  EXPECT_TRUE(ParsePythonLiteral(std::string(60, '[') + std::string(60, ']')));
  EXPECT_FALSE(ParsePythonLiteral(std::string(100000, '[')));
}

}  // namespace
}  // namespace qualm
