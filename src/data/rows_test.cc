#include "data/rows.h"

#include <gmock/gmock.h>

#include "base/strings.h"
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
  EXPECT_THAT(error("{\"a\":1}\n\n{", {"jsonl", {}, ""}), HasSubstr("f:3"));
  EXPECT_THAT(error("[1]", {"json", {}, ""}), HasSubstr("f: row 0"));
  EXPECT_THAT(error("{}", {"json", {}, "x"}), HasSubstr("an object with 'x'"));
  EXPECT_THAT(error("(3 (2 a)", {"trees", {}, ""}), HasSubstr("[f:1]"));
  EXPECT_THAT(error("(9 a)", {"trees", {}, ""}), HasSubstr("[f:1]"));
  EXPECT_THAT(error("c\n7\na\nb\nc\nd\n", {"six-lines", {}, ""}), HasSubstr("[f:2]"));
  EXPECT_THAT(error("", {"csv", {}, ""}), HasSubstr("at least one row"));
  EXPECT_THAT(error("a", {"cvs", {}, ""}), HasSubstr("did you mean 'csv'"));
}

TEST(Rows, BlankLinesAndNanOfJsonLines) {
  const RowFormat lines = {"jsonl", {}, ""};
  EXPECT_EQ(Read("\xef\xbb\xbf{\"a\":1}\r\n\r\n{\"a\":2}\n  \n", lines), R"([{"a":1},{"a":2}])");
  // JSON itself has no text for NaN, so dump() writes null.
  EXPECT_EQ(Read("{\"a\":NaN}\n{\"a\":-Infinity}", lines), R"([{"a":null},{"a":null}])");
  EXPECT_EQ(Read("[{\"a\":1},\n{\"a\":2}]", lines), R"([{"a":1},{"a":2}])");
}

TEST(Rows, ShapesOfJsonDocuments) {
  const RowFormat json = {"json", {}, ""};
  const std::string rows = R"([{"a":1,"b":"x"},{"a":2,"b":"y"}])";
  for (const char* text : {
           R"([{"a":1,"b":"x"},{"a":2,"b":"y"}])",
           "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n",
           R"({"version":"1","data":[{"a":1,"b":"x"},{"a":2,"b":"y"}]})",
           R"({"a":[1,2],"b":["x","y"]})",
           R"({"a":{"0":1,"1":2},"b":{"0":"x","1":"y"}})",
           R"({"columns":["a","b"],"index":[0,1],"data":[[1,"x"],[2,"y"]]})",
       }) {
    EXPECT_EQ(Read(text, json), rows) << text;
  }
  EXPECT_EQ(Read(R"({"k":{"a":1},"l":{"a":2}})", json), R"([{"a":1,"key":"k"},{"a":2,"key":"l"}])");
  EXPECT_THAT(ErrorOf([&] { ReadRows(R"({"a":[{"x":1}],"b":[{"x":2}]})", json, "f"); }),
              HasSubstr("2 arrays of objects among its members (a, b)"));
  EXPECT_THAT(ErrorOf([&] { ReadRows(R"({"a":[1,2],"b":["x"]})", json, "f"); }),
              HasSubstr("0 arrays of objects"));
}

TEST(Rows, SeparatorsAreFoundByTheHeader) {
  const RowFormat csv = {"csv", {}, ""};
  for (const char* text : {"a,b\n1,x;y\n", "a;b\n1;\"x;y\"\n", "a\tb\n1\tx;y\n", "a|b\n1|x;y\n"}) {
    EXPECT_EQ(Read(text, csv), R"([{"a":"1","b":"x;y"}])") << text;
  }
  EXPECT_EQ(Read("\"a;b;c\",d\n1,2\n", csv), R"([{"a;b;c":"1","d":"2"}])");
  // Without names in the file the separator is the comma.
  EXPECT_EQ(Read("x;y;z,1\n", {"csv", {"a", "b"}, ""}), R"([{"a":"x;y;z","b":"1"}])");
}

TEST(Rows, AGitLfsPointerIsNoTable) {
  for (const char* reader : {"csv", "lines", "parquet"}) {
    EXPECT_THAT(ErrorOf([&] {
                  ReadRows("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
                           {reader, {}, ""}, "f");
                }),
                HasSubstr("[f] expected rows; got a git-lfs pointer to the file"));
  }
}

TEST(Rows, TextThatIsNotUtf8NamesTheLine) {
  for (const char* reader : {"csv", "tsv", "lines", "jsonl", "json", "xml"}) {
    const std::string error = ErrorOf([&] { ReadRows("a\nb\ncaf\xe9\n", {reader, {}, "r"}, "f"); });
    EXPECT_THAT(error, HasSubstr("[f:3] expected text in UTF-8; got the byte 0xe9")) << reader;
  }
  EXPECT_THAT(ErrorOf([] {
                ReadRows(
                    "\xff\xfe"
                    "a",
                    {"csv", {}, ""}, "f");
              }),
              HasSubstr("UTF-16"));
}

TEST(Rows, EncodingsByName) {
  const auto read = [](std::string_view text, const char* encoding) {
    return Read(text, {"csv", {}, "", encoding});
  };
  const std::string cafe = R"([{"q":"café"}])";
  for (const char* name :
       {"latin-1", "latin1", "iso-8859-1", "iso8859_1", "cp1252", "windows-1252"}) {
    EXPECT_EQ(read("q\ncaf\xe9\n", name), cafe) << name;
  }
  EXPECT_EQ(read("q\n\xcc\xec\xbf\xd5\n", "gbk"), R"([{"q":"天空"}])");
  EXPECT_EQ(read(std::string_view("\xff\xfeq\0\n\0x\0\n\0", 10), "utf-16"), R"([{"q":"x"}])");
  EXPECT_EQ(read("\xef\xbb\xbfq\ncaf\xc3\xa9\n", "utf-8-sig"), cafe);
  EXPECT_THAT(ErrorOf([&] { read("q\nx\n\xcc", "gbk"); }),
              HasSubstr("[f:3] expected text in gbk; got the byte 0xcc"));
  EXPECT_THAT(ErrorOf([&] { read("q\n", "klingon"); }), HasSubstr("'klingon'"));
  // An XML document may say itself what it is in.
  EXPECT_EQ(
      Read("<?xml version='1.0' encoding='ISO-8859-1'?><d><r>caf\xe9</r></d>", {"xml", {}, "d"}),
      R"([{"r":"café"}])");
}

TEST(Rows, ManyColumnsTakeLinearTime) {
  // 200 000 columns: comparing names pair by pair would take minutes.
  std::string names, values, xml = "<d><row>";
  for (int i = 0; i < 200000; ++i) {
    names += StrCat(i == 0 ? "" : ",", "c", i);
    values += i == 0 ? "1" : ",1";
    xml += StrCat("<c", i, ">x</c", i, ">");
  }
  EXPECT_EQ(ReadRows(names + "\n" + values + "\n", {"csv", {}, ""}, "f")[0].size(), 200000u);
  EXPECT_EQ(ReadRows(xml + "</row></d>", {"xml", {}, "row"}, "f")[0].size(), 200000u);
}

}  // namespace
}  // namespace qualm
