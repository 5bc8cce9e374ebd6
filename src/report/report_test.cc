#include "report/report.h"

#include <gmock/gmock.h>

#include "support/report_study.h"

namespace qualm {
namespace {

using testing::Chosen;
using testing::CountOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Page : public testing::ReportStudy {
 protected:
  // A study with something to say in every chapter but "sizes", "layers" and "samples".
  void Fill() {
    AddTextTest("t");
    for (const char* name : {"a", "b"}) {
      CalibrationSpec set;
      set.name = name;
      plan_.spec.calibrations.push_back(set);
    }
    AddGroup("float", "-", "t");
    AddCell("r", "a", "t", Chosen(0.5, 0.25, 0.75, 0.01), 0.02);
    AddCell("r", "b", "t", Chosen(0.25, 0, 0.5, 0.05), 0.1);
    const Inference inference = Chosen(0.5, 0.25, 0.75, 0.01);
    analysis_.comparisons.push_back(
        {"m", "r", "t", "b", "a", Relation::kCrossSubject, inference, 0.02});
    analysis_.gaps.push_back({"m", "r", Relation::kCrossLanguage, 4, inference, 0.03});
    analysis_.families.push_back({"m", "r", "text", 5, inference, 0.04});
    analysis_.proxies.push_back({"m", "KL", "", 12, 0.5, 0.25, 0.75});
    Guidance guidance;
    guidance.model = "m";
    guidance.unit = "nats";
    guidance.candidates.push_back({"r", "a", 3.5, NAN, inference, 0.75, 1, false});
    guidance.candidates.push_back({"r", "b", 4.5, NAN, inference, 0.25, 0.01, true});
    analysis_.guidance.push_back(guidance);
    table_.runs = 3;
  }
};

TEST_F(Page, HasTheTitleAndHowMuchIsDone) {
  plan_.spec.title = {"A <study>", "研究 & 更多"};
  table_.runs = 9;
  table_.missing_runs = 2;
  const std::string html = HtmlReport(Data());
  EXPECT_THAT(html, StartsWith("<!DOCTYPE html>\n<html lang=\"en\">"));
  EXPECT_THAT(html, HasSubstr("<title>A &lt;study&gt;</title>"));
  EXPECT_THAT(html, HasSubstr("<h1><span lang=\"en\">A &lt;study&gt;</span>"
                              "<span lang=\"zh\">研究 &amp; 更多</span></h1>"));
  EXPECT_THAT(html, HasSubstr("made-up v3 · <span lang=\"en\">7 of 9 cells</span>"
                              "<span lang=\"zh\">9 个单元格中的 7 个</span>"));
}

TEST_F(Page, OfAnEmptyStudyHasOnlyTheChaptersThatSaySo) {
  const std::string html = HtmlReport(Data());
  EXPECT_EQ(CountOf(html, "<section id="), 3u);
  for (const char* id : {"summary", "guidance", "provenance"}) {
    EXPECT_THAT(html, HasSubstr(StrCat("<section id=\"", id, "\"")));
  }
}

TEST_F(Page, NavigatesToTheChaptersThatAreThereInTheirOrder) {
  Fill();
  const std::string html = HtmlReport(Data());
  size_t last = 0;
  for (const char* id : {"summary", "guidance", "heat", "gaps", "forest", "front", "proxies",
                         "cells", "provenance"}) {
    EXPECT_EQ(CountOf(html, StrCat("<li><a href=\"#", id, "\">")), 1u) << id;
    const size_t at = html.find(StrCat("<section id=\"", id, "\""));
    ASSERT_NE(at, std::string::npos) << id;
    EXPECT_GT(at, last) << id;
    last = at;
  }
  for (const char* id : {"sizes", "layers", "samples"}) {
    EXPECT_THAT(html, Not(HasSubstr(StrCat("#", id, "\"")))) << id;
  }
}

// The page shows one language and hides the other, so a text in one of them alone would be lost.
TEST_F(Page, HasEveryTextInBothLanguages) {
  Fill();
  plan_.spec.seeds = 1;
  table_.missing_runs = 1;
  plan_.skipped = {"q: none"};
  table_.failures = {"x: bad"};
  analysis_.false_alarms.comparisons = 1;
  const std::string html = HtmlReport(Data());
  const std::string body =
      html.substr(html.find("<body>"), html.find("<script>\n") - html.find("<body>"));
  const size_t texts = CountOf(body, "<span lang=\"en\">");
  EXPECT_GT(texts, 50u);
  EXPECT_EQ(CountOf(body, "</span><span lang=\"zh\">"), texts);
  EXPECT_EQ(CountOf(body, "<span lang=\"zh\">"), texts);
  EXPECT_EQ(CountOf(body, " data-en=\""), CountOf(body, " data-zh=\""));
  EXPECT_EQ(CountOf(body, "<text lang=\"en\""), CountOf(body, "<text lang=\"zh\""));
  for (const char* empty :
       {"<span lang=\"en\"></span>", "<span lang=\"zh\"></span>", "data-en=\"\"", "data-zh=\"\""}) {
    EXPECT_THAT(body, Not(HasSubstr(empty)));
  }
}

TEST_F(Page, LoadsNothingFromElsewhere) {
  Fill();
  const std::string html = HtmlReport(Data());
  for (const char* part : {"src=\"", "url(", "@import", "<link rel=\"stylesheet\"", "fetch("}) {
    EXPECT_THAT(html, Not(HasSubstr(part)));
  }
}

TEST_F(Page, IsTheSameForTheSameResults) {
  Fill();
  EXPECT_EQ(HtmlReport(Data()), HtmlReport(Data()));
}

}  // namespace
}  // namespace qualm
