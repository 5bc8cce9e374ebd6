#include "data/csv.h"

#include <gmock/gmock.h>

#include "support/errors.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

std::vector<std::vector<std::string>> Fields(std::string_view text, char separator = ',') {
  std::vector<std::vector<std::string>> all;
  for (const CsvRecord& record : ParseCsv(text, "t.csv", separator)) all.push_back(record.fields);
  return all;
}

TEST(Csv, PlainAndQuotedFields) {
  EXPECT_THAT(
      Fields("a,b\n1,\"x, \"\"y\"\"\nz\"\r\n\n,\n"),
      ElementsAre(ElementsAre("a", "b"), ElementsAre("1", "x, \"y\"\nz"), ElementsAre("", "")));
  EXPECT_THAT(Fields("a,b"), ElementsAre(ElementsAre("a", "b")));
  EXPECT_THAT(Fields("\xef\xbb\xbfq\n"), ElementsAre(ElementsAre("q")));
  EXPECT_THAT(Fields("say \"hi\",2\n"), ElementsAre(ElementsAre("say \"hi\"", "2")));
  EXPECT_THAT(Fields("\"a\tb\"\tc\n", '\t'), ElementsAre(ElementsAre("a\tb", "c")));
  EXPECT_TRUE(Fields("").empty());
  EXPECT_THAT(Fields("a,"), ElementsAre(ElementsAre("a", "")));
}

TEST(Csv, RecordsKnowTheirLine) {
  const std::vector<CsvRecord> records = ParseCsv("a\n\"1\n2\"\nb\n", "t.csv");
  EXPECT_EQ(records[1].line, 2u);
  EXPECT_EQ(records[2].line, 4u);
}

TEST(Csv, BrokenQuotesNameTheLine) {
  EXPECT_THAT(ErrorOf([] { ParseCsv("a\n\"b\nc", "t.csv"); }),
              HasSubstr("[t.csv:2] expected a closing quote"));
  EXPECT_THAT(ErrorOf([] { ParseCsv("a\n\"b\"c\n", "t.csv"); }), HasSubstr("[t.csv:2]"));
  EXPECT_THAT(ErrorOf([] { ParseCsv("a\n\"b\" c\n", "t.tsv", '\t'); }), HasSubstr("`reader: tsv`"));
}

TEST(Tsv, QuotesAreThemselves) {
  const std::vector<CsvRecord> records = ParseTsv("a\t\"b\r\nc\t\n");
  ASSERT_EQ(records.size(), 2u);
  EXPECT_THAT(records[0].fields, ElementsAre("a", "\"b"));
  EXPECT_THAT(records[1].fields, ElementsAre("c", ""));
}

}  // namespace
}  // namespace qualm
