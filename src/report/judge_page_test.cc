#include "report/judge_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qualm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

JudgedRow Row(const std::string& label, JudgedReading reading, uint64_t bytes, double kl) {
  JudgedRow row;
  row.label = row.path = label;
  row.reading = reading;
  row.file_bytes = bytes;
  JudgedText& text = row.texts.emplace_back();
  text.scores.name = "a & b";
  text.scores.windows = 3;
  text.scores.targets = 30;
  text.scores.ppl = {10, 0.5};
  if (reading == JudgedReading::kReference) return row;
  text.scores.comparison.emplace();
  text.scores.comparison->kl_mean = {kl, kl / 10};
  text.scores.comparison->top1_agreement = {0.75, 0.01};
  return row;
}

Verdict Sample() {
  Verdict verdict;
  verdict.protocol = "gptq";
  verdict.seqlen = 11;
  verdict.rows = {Row("float", JudgedReading::kReference, 400, 0),
                  Row("<small>", JudgedReading::kAll, 100, 0.5),
                  Row("large", JudgedReading::kAsConfigured, 200, 0.25)};
  verdict.rows[1].texts[0].is_on_front = true;
  verdict.pairs.push_back(
      {1, 2, "KL", "a & b", {.n = 3, .difference = {-0.25, 0.1}, .p = 0.01}, 0.04});
  return verdict;
}

TEST(JudgePage, SaysEveryNumberWithItsErrorAndN) {
  const std::string page = JudgePage(Sample());
  EXPECT_THAT(page, HasSubstr("n = 3 windows, 30 scored tokens"));
  EXPECT_THAT(page, HasSubstr("0.5 ± 5.0e-02"));    // mean KL
  EXPECT_THAT(page, HasSubstr("25.00 % ± 1.00"));   // top-1 flips
  EXPECT_THAT(page, HasSubstr("-0.25 ± 1.0e-01"));  // the pair
  EXPECT_THAT(page, HasSubstr("0.040"));
  EXPECT_THAT(page, HasSubstr("as configured"));
  EXPECT_EQ(page, JudgePage(Sample()));
}

// Names of files and texts are the user's.
TEST(JudgePage, EscapesNames) {
  const std::string page = JudgePage(Sample());
  EXPECT_THAT(page, HasSubstr("&lt;small&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("<small>")));
  EXPECT_THAT(page, HasSubstr("a &amp; b"));
}

// A row that failed is said at the top; chapters without content are not there.
TEST(JudgePage, FailuresAreSaid) {
  Verdict verdict = Sample();
  verdict.rows[2].texts.clear();
  verdict.rows[2].error = "[large] expected a model; got a cake";
  verdict.pairs.clear();
  const std::string page = JudgePage(verdict);
  EXPECT_THAT(page, HasSubstr("got a cake"));
  EXPECT_THAT(page, Not(HasSubstr("id=\"pairs\"")));
  EXPECT_THAT(page, Not(HasSubstr("id=\"speed\"")));
}

}  // namespace
}  // namespace qualm
