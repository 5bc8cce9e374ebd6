#include "report/sections.h"

#include <gmock/gmock.h>

#include <set>

#include "support/report_study.h"

namespace qualm {
namespace {

using testing::ReportStudy;

TEST_F(ReportStudy, ATestsLossIsNamedWithItsUnit) {
  AddTextTest("text");
  AddTaskTest("shares", "qa");
  AddTaskTest("likelihoods", "qa");
  AddGroup("float", "-", "text");
  AddGroup("float", "-", "shares");
  AddGroup("float", "-", "likelihoods").is_share = false;
  const ReportData data = Data();
  EXPECT_FALSE(data.IsShare("text"));
  EXPECT_TRUE(data.IsShare("shares"));
  EXPECT_FALSE(data.IsShare("likelihoods"));
  EXPECT_FALSE(data.IsShare("not done"));
  EXPECT_EQ(data.TestLoss("text").en, "log perplexity, nats");
  EXPECT_EQ(data.TestLoss("text").zh, "对数困惑度（nats）");
  EXPECT_EQ(data.TestLoss("shares").en, "error, percentage points");
  EXPECT_EQ(data.TestLoss("shares").zh, "错误率（百分点）");
  EXPECT_EQ(data.TestLoss("likelihoods").en, "−log p(right choice), nats");
  EXPECT_EQ(data.TestLoss("likelihoods").zh, "正确选项的 −log p（nats）");
  EXPECT_EQ(data.TestLoss("unknown").en, "");
}

TEST_F(ReportStudy, AMeanHasTheUnitOfItsTestsOrNone) {
  EXPECT_EQ(Data().UnitOfTests().en, "nats");  // no test at all
  AddTextTest("text");
  AddGroup("float", "-", "text");
  EXPECT_EQ(Data().UnitOfTests().en, "nats");
  AddTaskTest("task", "qa");
  AddGroup("float", "-", "task");
  const LossUnit mixed = Data().UnitOfTests();
  EXPECT_EQ(mixed.en, "nats and shares, each test equally");
  EXPECT_EQ(mixed.zh, "nats 与比例，各测试等权");
  EXPECT_EQ(mixed.factor, 1);
  EXPECT_EQ(mixed.digits, 3);
  // Of one family the tests are of one kind.
  EXPECT_EQ(Data().UnitOfTests("qa").en, "percentage points");
  EXPECT_EQ(Data().UnitOfTests("text").en, "nats");
}

TEST_F(ReportStudy, AModelIsNamedOnlyAmongSeveral) {
  EXPECT_EQ(ConditionText(Data(), "m", "gptq-w4"), "gptq-w4");
  plan_.spec.models = {"m", "n"};
  EXPECT_EQ(ConditionText(Data(), "m", "gptq-w4"), "gptq-w4 · m");
}

TEST(RelationText, TellsEachRelationInBothLanguages) {
  std::set<std::string> en, zh;
  const std::vector<Relation> all = {Relation::kIid,           Relation::kCrossSubject,
                                     Relation::kCrossDataset,  Relation::kCrossTask,
                                     Relation::kCrossLanguage, Relation::kControl,
                                     Relation::kNone};
  for (Relation relation : all) {
    const LocalText text = RelationText(relation);
    EXPECT_NE(text.en, "");
    EXPECT_NE(text.zh, "");
    en.insert(text.en);
    zh.insert(text.zh);
  }
  EXPECT_EQ(en.size(), all.size());
  EXPECT_EQ(zh.size(), all.size());
  EXPECT_EQ(RelationText(Relation::kIid).en, "IID");
  EXPECT_EQ(RelationText(Relation::kCrossLanguage).zh, "跨语言");
  EXPECT_EQ(RelationText(static_cast<Relation>(99)).en, "");
}

TEST(Section, IsTheTargetOfTheNavigationAndNamedByItsHeading) {
  EXPECT_EQ(Section("heat", {"Heat & more", "热图"}, "<p>body</p>"),
            "<section id=\"heat\" aria-labelledby=\"heat-title\">\n<h2 id=\"heat-title\">"
            "<span lang=\"en\">Heat &amp; more</span><span lang=\"zh\">热图</span></h2>\n"
            "<p>body</p></section>\n");
}

}  // namespace
}  // namespace qualm
