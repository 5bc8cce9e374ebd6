#include "data/rows.h"

#include <gmock/gmock.h>

#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

std::string Read(std::string_view text, const RowFormat& format) {
  return Json(ReadRows(text, format, "f")).dump();
}

TEST(Rows, EveryReaderMakesObjects) {
  EXPECT_EQ(Read("a,b\n1,2\n", {"csv", {}, ""}), R"([{"a":"1","b":"2"}])");
  EXPECT_EQ(Read("1\t2\n", {"tsv", {"a", "b"}, ""}), R"([{"a":"1","b":"2"}])");
  EXPECT_EQ(Read("1\t\"2\t3\"\n", {"quoted-tsv", {"a", "b"}, ""}), R"([{"a":"1","b":"2\t3"}])");
  EXPECT_EQ(Read(R"({"x":{"rows":[{"a":1}]}})", {"json", {}, "x.rows"}), R"([{"a":1}])");
  EXPECT_EQ(Read(R"({"k":{"a":1}})", {"json", {}, ""}), R"([{"a":1,"key":"k"}])");
  EXPECT_EQ(Read("{\"a\":[1]}\n{\"b\":2}", {"jsonl", {}, ""}), R"([{"a":[1]},{"b":2}])");
  EXPECT_EQ(Read("x\n\ny", {"lines", {}, ""}),
            R"([{"text":"x","line":0},{"text":"","line":1},{"text":"y","line":2}])");
  EXPECT_EQ(Read("(3 (2 It) (4 (2 -LRB-) (3 and\\/or)))\n", {"trees", {}, ""}),
            R"([{"text":"It ( and/or","label":3}])");
  EXPECT_EQ(Read("c\n2\na\nb\nc\nd\n", {"six-lines", {}, ""}),
            R"([{"context":"c","label":2,"endings":["a","b","c","d"]}])");
  EXPECT_EQ(Read(R"({"documents":[{"text":"t","annotation_sets":[{"annotations":)"
                 R"({"n":{"choice":"Entailment"}}}]}],"labels":{"n":{"hypothesis":"h"}}})",
                 {"contract-nli", {}, ""}),
            R"([{"premise":"t","hypothesis":"h","label":"Entailment"}])");
}

TEST(Rows, MalformedRowsNameTheirPlace) {
  const auto error = [](std::string_view text, const RowFormat& format) {
    return ErrorOf([&] { ReadRows(text, format, "f"); });
  };
  EXPECT_THAT(error("a,b\n1\n", {"csv", {}, ""}), HasSubstr("[f:2] expected 2 fields; got 1"));
  EXPECT_THAT(error("a,a\n1,2\n", {"csv", {}, ""}), HasSubstr("'a' twice"));
  EXPECT_THAT(error("{\"a\":1}\n\n{}", {"jsonl", {}, ""}), HasSubstr("f:2"));
  EXPECT_THAT(error("[1]", {"json", {}, ""}), HasSubstr("f: row 0"));
  EXPECT_THAT(error("{}", {"json", {}, "x"}), HasSubstr("an object with 'x'"));
  EXPECT_THAT(error("(3 (2 a)", {"trees", {}, ""}), HasSubstr("[f:1]"));
  EXPECT_THAT(error("(9 a)", {"trees", {}, ""}), HasSubstr("[f:1]"));
  EXPECT_THAT(error("c\n7\na\nb\nc\nd\n", {"six-lines", {}, ""}), HasSubstr("[f:2]"));
  EXPECT_THAT(error("", {"csv", {}, ""}), HasSubstr("at least one row"));
  EXPECT_THAT(error("a", {"cvs", {}, ""}), HasSubstr("did you mean 'csv'"));
}

}  // namespace
}  // namespace qualm
