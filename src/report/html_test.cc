#include "report/html.h"

#include <gtest/gtest.h>

#include <cmath>

namespace qualm {
namespace {

TEST(Escape, MakesTextSafeForContentAndQuotedAttributes) {
  EXPECT_EQ(Escape("a<b & \"c\">d"), "a&lt;b &amp; &quot;c&quot;&gt;d");
  EXPECT_EQ(Escape("&lt;"), "&amp;lt;");
  EXPECT_EQ(Escape("校准 − 1\tb\n"), "校准 − 1\tb\n");
  EXPECT_EQ(Escape(""), "");
}

TEST(Escape, ReplacesWhatAPageMayNotHold) {
  EXPECT_EQ(Escape("a\x01z"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(Escape("a\rb"),
            "a\xEF\xBF\xBD"
            "b");
  // Each byte of a text that is not UTF-8.
  EXPECT_EQ(Escape("\xC3z"), "\xEF\xBF\xBDz");
}

TEST(CsvField, IsQuotedOnlyIfItMustBe) {
  EXPECT_EQ(CsvField("a b;c"), "a b;c");
  EXPECT_EQ(CsvField("a,b"), "\"a,b\"");
  EXPECT_EQ(CsvField("a \"b\""), "\"a \"\"b\"\"\"");
  EXPECT_EQ(CsvField("a\nb"), "\"a\nb\"");
  EXPECT_EQ(CsvField("a\rb"), "\"a\rb\"");
  EXPECT_EQ(CsvField(""), "");
}

TEST(Both, HasEachLanguageUnlessTheyAreTheSame) {
  EXPECT_EQ(Both("score", "得分"), "<span lang=\"en\">score</span><span lang=\"zh\">得分</span>");
  EXPECT_EQ(Both("KL", "KL"), "KL");
}

TEST(HtmlTable, HasACaptionColumnsAndRowsWithHeaders) {
  HtmlTable table("What");
  EXPECT_TRUE(table.empty());
  table.Header({"name", "value"});
  EXPECT_TRUE(table.empty());  // a header alone is not content
  table.Row({{"a"}, {"1", true}});
  table.Row({{"b", false, "class=\"x\""}, {"2", true, "style=\"y\""}, {"c"}}, "data-row");
  EXPECT_FALSE(table.empty());
  EXPECT_EQ(
      table.Html(),
      "<div class=\"scroll\" tabindex=\"0\"><table>\n<caption>What</caption>\n<thead><tr>"
      "<th scope=\"col\">name</th><th scope=\"col\">value</th></tr></thead>\n<tbody>\n"
      "<tr><th scope=\"row\">a</th><td class=\"n\">1</td></tr>\n"
      "<tr data-row><th scope=\"row\" class=\"x\">b</th><td style=\"y\">2</td><td>c</td></tr>\n"
      "</tbody></table></div>\n");
  EXPECT_TRUE(table.Html("wide").starts_with(
      "<div class=\"scroll\" tabindex=\"0\"><table class=\"wide\">\n"));
}

TEST(Number, IsADashWhereThereIsNone) {
  EXPECT_EQ(Number(1.2345, 2), "1.23");
  EXPECT_EQ(Number(0, 1), "0.0");
  EXPECT_EQ(Number(-2, 0), "-2");
  EXPECT_EQ(Number(NAN, 2), "–");
  EXPECT_EQ(Number(INFINITY, 2), "–");
}

TEST(Signed, HasASignUnlessItRoundsToZero) {
  EXPECT_EQ(Signed(0.126, 2), "+0.13");
  EXPECT_EQ(Signed(-0.126, 2), "−0.13");  // a minus sign, not a hyphen
  EXPECT_EQ(Signed(0, 3), "0.000");
  EXPECT_EQ(Signed(-0.0004, 3), "0.000");
  EXPECT_EQ(Signed(0.0006, 3), "+0.001");
  EXPECT_EQ(Signed(NAN, 3), "–");
}

TEST(PValue, IsNeverZero) {
  EXPECT_EQ(PValue(0.0314), "0.031");
  EXPECT_EQ(PValue(0.001), "0.001");
  EXPECT_EQ(PValue(0.00099), "&lt;0.001");
  EXPECT_EQ(PValue(0), "&lt;0.001");
  EXPECT_EQ(PValue(1), "1.000");
  EXPECT_EQ(PValue(NAN), "–");
  EXPECT_EQ(PEquals("p", 0.0314), "p = 0.031");
  EXPECT_EQ(PEquals("Holm p", 0.0001), "Holm p &lt; 0.001");
  EXPECT_EQ(PEquals("p", NAN), "p = –");
}

TEST(WithDeviation, SaysNothingAboutTheSpreadOfOneSeed) {
  EXPECT_EQ(WithDeviation(38.616, 0.1, 2), "38.62 ± 0.10");
  EXPECT_EQ(WithDeviation(38.616, 0, 2), "38.62 ± 0.00");
  EXPECT_EQ(WithDeviation(38.616, NAN, 2), "38.62");
  EXPECT_EQ(WithDeviation(NAN, NAN, 2), "–");
}

TEST(Percent, IsAHundredTimesAShare) {
  EXPECT_EQ(Percent(0.125, 1), "12.5 %");
  EXPECT_EQ(Percent(0, 0), "0 %");
  EXPECT_EQ(Percent(NAN, 1), "–");
}

TEST(UnitOf, ShowsSharesInPercentagePoints) {
  EXPECT_EQ(UnitOf(true).factor, 100);
  EXPECT_EQ(UnitOf(true).digits, 1);
  EXPECT_EQ(UnitOf(true).en, "percentage points");
  EXPECT_EQ(UnitOf(true).zh, "百分点");
  EXPECT_EQ(UnitOf(false).factor, 1);
  EXPECT_EQ(UnitOf(false).digits, 3);
  EXPECT_EQ(UnitOf(false).en, "nats");
  EXPECT_EQ(UnitOf(false).zh, "nats");
}

TEST(WithInterval, HasTheUnitsFactorAndDigits) {
  Inference one;
  one.value = 0.123;
  one.low = -0.05;
  one.high = 0.3;
  EXPECT_EQ(WithInterval(one, UnitOf(false)), "+0.123 [−0.050, +0.300]");
  EXPECT_EQ(WithInterval(one, UnitOf(true)), "+12.3 [−5.0, +30.0]");
  one.low = one.high = NAN;  // a single cluster has no interval
  EXPECT_EQ(WithInterval(one, UnitOf(false)), "+0.123 [–, –]");
}

}  // namespace
}  // namespace qualm
