#include "report/sections.h"

#include "base/strings.h"
#include "report/html.h"

namespace qualm {

bool ReportData::IsShare(const std::string& test) const {
  const Group* group =
      table.Find(plan.spec.models.empty() ? "" : plan.spec.models[0], "float", "-", test);
  for (const TestSpec& one : plan.spec.tests) {
    if (one.name != test || !one.is_task()) continue;
    const bool has_choices = group == nullptr || plan.spec.task_loss == TaskLoss::kNll;
    return !has_choices;
  }
  return false;
}

const LocalText ReportData::TestLoss(const std::string& test) const {
  for (const TestSpec& one : plan.spec.tests) {
    if (one.name != test) continue;
    if (!one.is_task()) return {"log perplexity, nats", "对数困惑度（nats）"};
    if (plan.spec.task_loss == TaskLoss::kNll) {
      return {"−log p(right choice), nats", "正确选项的 −log p（nats）"};
    }
    return {"error, percentage points", "错误率（百分点）"};
  }
  return {};
}

std::string Section(std::string_view id, const LocalText& title, std::string_view body) {
  return StrCat("<section id=\"", id, "\" aria-labelledby=\"", id, "-title\">\n<h2 id=\"", id,
                "-title\">", BothText(title), "</h2>\n", body, "</section>\n");
}

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
