// The chapters of a study's page, in their order.
#include "report/report.h"

#include "base/strings.h"
#include "report/html.h"
#include "report/page.h"

namespace qualm {
std::string HtmlReport(const ReportData& data) {
  // The order of the page: answers first, then the numbers that they rest on.
  const std::vector<PageChapter> chapters = {
      {"summary", {"What was found", "结论"}, SummarySection(data)},
      {"guidance", {"Which one to take", "该选哪个"}, GuidanceSection(data)},
      {"heat", {"Calibration × test", "校准 × 测试"}, HeatMapSection(data)},
      {"gaps", {"Gap and controls", "差距与对照"}, ControlSection(data)},
      {"forest", {"Differences", "差异"}, ForestSection(data)},
      {"front", {"Size and speed", "大小与速度"}, FrontSection(data)},
      {"sizes", {"Calibration size", "校准规模"}, SizeSection(data)},
      {"proxies", {"Proxies", "代理指标"}, ProxySection(data)},
      {"cells", {"Every number", "全部数字"}, CellSection(data)},
      {"layers", {"Layers", "各层"}, LayerSection(data)},
      {"samples", {"Samples", "样本"}, SampleSection(data)},
      {"provenance", {"Provenance", "来源"}, ProvenanceSection(data)}};

  const LocalText& title = data.plan.spec.title;
  const std::string note = StrCat(
      Escape(StrCat(data.plan.spec.name, " v", data.plan.spec.version)), " · ",
      Both(StrCat(data.table.runs - data.table.missing_runs, " of ", data.table.runs, " cells"),
           StrCat(data.table.runs, " 个单元格中的 ", data.table.runs - data.table.missing_runs,
                  " 个")));
  return PageOf(title, note, chapters);
}

}  // namespace qualm
