// Where every number comes from.
#include <gmock/gmock.h>

#include "support/report_study.h"

namespace qualm {
namespace {

using testing::CountOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Provenance : public testing::ReportStudy {};

TEST_F(Provenance, OfAnEmptyStudyHasVersionsAndTheStudysOwnText) {
  plan_.spec.text = "name: <made-up>\n";
  plan_.stages.resize(2);
  table_.seconds = 95;
  table_.processors = {"cpu <1>", "cpu 2"};
  const std::string html = ProvenanceSection(Data());
  EXPECT_THAT(html, HasSubstr("<li>qualm 1.2.3, "));
  EXPECT_THAT(html, HasSubstr("<span lang=\"zh\">指令集</span> avx2</li>"));
  EXPECT_THAT(html, HasSubstr("<li>cpu &lt;1&gt;, cpu 2</li>"));
  EXPECT_THAT(html, HasSubstr("2 stages, 1m35s of work "));
  EXPECT_THAT(html, HasSubstr("2 个阶段，共计 1m35s"));
  EXPECT_THAT(html, HasSubstr("name: &lt;made-up&gt;\n</pre>"));
  EXPECT_THAT(html, Not(HasSubstr("<table")));
  EXPECT_THAT(html, Not(HasSubstr("Failed stages")));
  EXPECT_THAT(html, Not(HasSubstr("Left out")));
}

TEST_F(Provenance, ModelsHaveTheHashThatTheirFirstEvaluationRead) {
  plan_.spec.models = {"m", "n", "not done"};
  AddTextTest("t");
  AddGroup("float", "-", "t");
  AddGroup("r", "a", "t").model = "n";
  WriteRecord(EvaluateKey("float", "-", "t"), testing::TextOf({1}, {1}, {0}));
  const std::string html = ProvenanceSection(Data());
  EXPECT_THAT(html, HasSubstr("<li>m: <code>abc</code></li>"));
  EXPECT_THAT(html, Not(HasSubstr("<li>n:")));  // its record is not there
}

TEST_F(Provenance, TestsTellTheirProtocolAndWhatTheyAreAbout) {
  AddTextTest("t");
  AddTaskTest("q", "qa");
  AddTextTest("no cell");
  AddTextTest("no record");
  for (const char* name : {"t", "q", "no record"}) AddGroup("float", "-", name);
  TextOutcome text = testing::TextOf({1}, {1}, {0});
  text.protocol_version = 2;
  text.seqlen = 512;
  text.tokens = 9000;
  WriteRecord(EvaluateKey("float", "-", "t"), text);
  RowsOutcome rows = testing::RowsOf({1}, {0});
  rows.task_version = 3;
  rows.shots = 5;
  rows.rows = 40;
  rows.rows_in_split = 872;
  rows.note = "a <part>";
  WriteRecord(EvaluateKey("float", "-", "q"), rows);
  const std::string html = ProvenanceSection(Data());
  EXPECT_THAT(html,
              HasSubstr("<tr><th scope=\"row\">t</th><td>gptq v2, seqlen 512, 9000 tokens</td>"
                        "<td class=\"n\">40</td><td class=\"n\">4</td>"
                        "<td>books / stories / text / en</td><td></td></tr>"));
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">q</th><td>sst2 v3, acc, 5-shot, 40 of 872 rows"
                              "</td><td class=\"n\">40</td><td class=\"n\">4</td>"
                              "<td>exams / physics / qa / zh</td><td>a &lt;part&gt;</td></tr>"));
  EXPECT_EQ(CountOf(html, "<tr><th scope=\"row\">"), 2u);
}

TEST_F(Provenance, CalibrationSetsAreListedOnceIfTheyAreDone) {
  const auto add = [&](const std::string& calibration, const std::string& key) {
    CellRun cell;
    cell.model = "m";
    cell.recipe = "r";
    cell.calibration = calibration;
    cell.seed = 7;
    cell.calibrate = key;
    plan_.cells.push_back(cell);
  };
  CalibrateOutcome set;
  set.corpus = "stories & more";
  set.sampler = "concat";
  set.sequences = 16;
  set.length = 256;
  set.documents = 12;
  set.hash = "f00";
  WriteRecord("c1", set);
  WriteRecord("c2", StageOutcome{});
  add("-", "");
  add("a", "c1");
  add("a", "c1");
  add("b", "c2");
  add("c", "not done");
  const std::string html = ProvenanceSection(Data());
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">a</th><td>m</td><td class=\"n\">7</td>"
                              "<td>stories &amp; more</td><td>concat</td>"
                              "<td class=\"n\">16 × 256</td><td class=\"n\">12</td>"
                              "<td><code>f00</code></td></tr>"));
  EXPECT_EQ(CountOf(html, "<tr><th scope=\"row\">"), 1u);
}

TEST_F(Provenance, WhatFailedOrWasLeftOutIsListed) {
  table_.failures = {"quantize a: [x] <bad>", "evaluate b: y"};
  plan_.skipped = {"q: no file <f>"};
  const std::string html = ProvenanceSection(Data());
  EXPECT_THAT(html,
              HasSubstr("<ul><li>quantize a: [x] &lt;bad&gt;</li><li>evaluate b: y</li></ul>"));
  EXPECT_THAT(html, HasSubstr("失败的阶段："));
  EXPECT_THAT(html, HasSubstr("<ul><li>q: no file &lt;f&gt;</li></ul>"));
  EXPECT_THAT(html, HasSubstr("因缺少数据而略过："));
}

}  // namespace
}  // namespace qualm
