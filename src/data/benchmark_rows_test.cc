// Readers of single benchmarks, on made-up rows, and what they refuse.
#include "data/benchmark_rows.h"

#include <gmock/gmock.h>

#include "data/xml_rows.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

std::vector<Row> Read(const char* reader, std::string_view text, RowFormat format = {}) {
  format.reader = reader;
  return ReadRows(text, format, "f");
}

TEST(BenchmarkRows, SquadByQuestion) {
  const std::vector<Row> rows = Read("squad", R"({"data": [{"title": "T", "paragraphs": [
      {"context": "C", "qas": [
        {"id": "1", "question": "a?", "answers": [{"text": "x", "answer_start": 0}, {"text": "y"}]},
        {"id": "2", "question": "b?", "answers": []}]}]}]})");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0], Json::parse(R"({"id": "1", "title": "T", "context": "C", "question": "a?",
                                     "answers": ["x", "y"]})"));
  EXPECT_THAT(ErrorOf([] { (void)Read("squad", R"({"data": 1})"); }),
              HasSubstr("a list in 'data'"));
}

std::string BbqRow(const char* polarity, const char* groups) {
  return std::string(R"({"question_polarity": ")") + polarity +
         R"(", "answer_info": {"ans0": ["the man", "old"], "ans1": ["Can't tell", "unknown"], )" +
         R"("ans2": ["the boy", "nonOld"]}, "additional_metadata": {"stereotyped_groups": )" +
         groups + "}}\n";
}

TEST(BenchmarkRows, BbqSaysWhichAnswerIsBiased) {
  const auto roles = [](const Row& row) {
    return row["role0"].get<std::string>() + " " + row["role1"].get<std::string>() + " " +
           row["role2"].get<std::string>();
  };
  const std::vector<Row> rows =
      Read("bbq", BbqRow("neg", "[\"old\"]") + BbqRow("nonneg", "[\"Old\"]") +
                      BbqRow("neg", "[\"The Boy\"]") + BbqRow("neg", "[\"nobody\"]"));
  EXPECT_EQ(roles(rows[0]), "biased unknown other");
  EXPECT_EQ(roles(rows[1]), "other unknown biased");  // the good thing is said of the others
  EXPECT_EQ(roles(rows[2]), "other unknown biased");  // by name
  EXPECT_EQ(roles(rows[3]), "other unknown other");
}

TEST(BenchmarkRows, MultiRcByAnswer) {
  const std::vector<Row> rows =
      Read("multirc", R"({"passage": {"text": "P", "questions": [{"question": "q", "answers": )"
                      R"([{"text": "a", "label": 1}, {"text": "b", "label": 0}]}]}})");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["answer"], "b");
  EXPECT_EQ(rows[1]["label"], 0);
}

TEST(BenchmarkRows, ConllEntitiesByType) {
  RowFormat format;
  format.columns = {"PER", "LOC"};
  const std::vector<Row> rows = Read("conll",
                                     "-DOCSTART- -X- O O\n\nAnn NNP B-person\nLee NNP I-person\n"
                                     "saw VB O\nRome NN B-LOC\nBo NN I-PER\n\nNobody NN O\n",
                                     format);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["text"], "Ann Lee saw Rome Bo");
  EXPECT_EQ(rows[0]["PER"], "Ann Lee, Bo");  // an I behind another type begins anew
  EXPECT_EQ(rows[0]["LOC"], "Rome");
  EXPECT_EQ(rows[1]["PER"], "None");
  EXPECT_THAT(ErrorOf([&] { (void)Read("conll", "Ann\n", format); }),
              HasSubstr("[f:1] expected a token and its tag"));
  EXPECT_THAT(ErrorOf([&] { (void)Read("conll", "Ann X-PER\n", format); }),
              HasSubstr("a tag O, B-TYPE or I-TYPE"));
}

TEST(BenchmarkRows, XmlElementsWithAttributesAndChildren) {
  RowFormat format;
  format.records = "P";
  const std::vector<Row> rows =
      Read("xml", "<?xml version='1.0'?><r><P ID='1'><Q>a &amp; b</Q></P><s><P ID='2'/></s></r>",
           format);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0], Json::parse(R"({"ID": "1", "Q": "a & b"})"));
  EXPECT_EQ(rows[1]["ID"], "2");
  EXPECT_THAT(ErrorOf([&] { (void)Read("xml", "<r>\n<P></r>", format); }),
              HasSubstr("[f:2] expected well-formed XML"));
  EXPECT_THAT(ErrorOf([] { (void)Read("xml", "<r/>"); }), HasSubstr("'records'"));
}

TEST(BenchmarkRows, Qa4MreByQuestion) {
  const std::string head = "<t><reading-test><doc>D</doc><question><q_str>Q</q_str>";
  const std::vector<Row> rows =
      Read("qa4mre", head +
                         "<answer>x</answer><answer correct='Yes'>y</answer></question>"
                         "</reading-test></t>");
  EXPECT_EQ(
      rows[0],
      Json::parse(R"({"document": "D", "question": "Q", "right": 1, "answers": ["x", "y"]})"));
  EXPECT_THAT(ErrorOf([&] {
                (void)Read("qa4mre", head + "<answer>x</answer></question></reading-test></t>");
              }),
              HasSubstr("a right answer to every question"));
}

}  // namespace
}  // namespace qualm
