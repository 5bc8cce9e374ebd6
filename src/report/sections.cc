// What several sections share: units and names of losses, names of relations and conditions, and
// the frame of a section.
#include "report/sections.h"

#include "base/strings.h"
#include "report/html.h"

namespace qualm {

bool ReportData::IsShare(const std::string& test) const {
  for (const Cell& cell : table.cells) {
    if (cell.test == test) return cell.is_share;
  }
  return false;
}

LossUnit ReportData::UnitOfTests(const std::optional<std::string>& family) const {
  size_t tests = 0, shares = 0;
  for (const TestSpec& test : plan.spec.tests) {
    // Without a family all tests count.
    if (family && test.about.task != *family) continue;
    ++tests;
    shares += IsShare(test.name) ? 1 : 0;
  }
  // Tests of one kind have a unit; a mix of both has none.
  if (shares == 0 || shares == tests) return UnitOf(shares > 0);
  return {1, 3, "nats and shares, each test equally", "nats 与比例，各测试等权"};
}

LocalText ReportData::TestLoss(const std::string& test) const {
  for (const TestSpec& one : plan.spec.tests) {
    if (one.name != test) continue;
    if (!one.is_task()) return {"log perplexity, nats", "对数困惑度（nats）"};
    if (IsShare(test)) return {"error, percentage points", "错误率（百分点）"};
    return {"−log p(right choice), nats", "正确选项的 −log p（nats）"};
  }
  return {};
}

// The frame of a section: its id is the target of the navigation.
std::string Section(std::string_view id, const LocalText& title, std::string_view body) {
  return StrCat("<section id=\"", id, "\" aria-labelledby=\"", id, "-title\">\n<h2 id=\"", id,
                "-title\">", BothText(title), "</h2>\n", body, "</section>\n");
}

// How calibration data and test are related, in the words of the report.
LocalText RelationText(Relation relation) {
  switch (relation) {
    case Relation::kIid:
      return {"IID", "同分布"};
    case Relation::kCrossSubject:
      return {"other subject", "跨学科"};
    case Relation::kCrossDataset:
      return {"other dataset", "跨数据集"};
    case Relation::kCrossTask:
      return {"other task", "跨任务"};
    case Relation::kCrossLanguage:
      return {"other language", "跨语言"};
    case Relation::kControl:
      return {"control", "对照"};
    case Relation::kNone:
      return {"no data", "无数据"};
  }
  return {};
}

std::string ConditionText(const ReportData& data, const std::string& model,
                          const std::string& recipe) {
  return data.plan.spec.models.size() > 1 ? StrCat(recipe, " · ", model) : recipe;
}

std::string BothText(const LocalText& text) { return Both(Escape(text.en), Escape(text.zh)); }

}  // namespace qualm
