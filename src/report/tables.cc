// Heat maps of calibration sets against tests, the table of all numbers, and the controls.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/strings.h"
#include "report/html.h"
#include "report/sections.h"

namespace qualm {
namespace {

using Condition = std::pair<std::string, std::string>;  // model, recipe

// Models and recipes of the quantized cells, in the table's order.
std::vector<Condition> ConditionsOf(const ReportData& data, bool only_calibrated) {
  std::vector<Condition> all;
  for (const CellSummary& summary : data.analysis.cells) {
    const Cell& cell = data.table.cells[summary.cell];
    if (only_calibrated && cell.calibration == "-") continue;
    const Condition one = {cell.model, cell.recipe};
    if (std::ranges::find(all, one) == all.end()) all.push_back(one);
  }
  return all;
}

// The comparison of this cell with calibration on the test's own kind, if the study has it.
const CalibrationComparison* FindComparison(const ReportData& data, const Cell& cell) {
  for (const CalibrationComparison& one : data.analysis.comparisons) {
    if (one.model == cell.model && one.recipe == cell.recipe && one.test == cell.test &&
        one.calibration == cell.calibration) {
      return &one;
    }
  }
  return nullptr;
}

// ▲ means significantly worse than calibrating on the test's own kind of text, ▼ better.
std::string Mark(const CalibrationComparison* comparison) {
  if (comparison == nullptr || !(comparison->p_holm < 0.05)) return "";
  return comparison->difference.value > 0
             ? "<span class=\"mark\" title=\"worse than IID (Holm p &lt; 0.05)\">▲</span>"
             : "<span class=\"mark\" title=\"better than IID (Holm p &lt; 0.05)\">▼</span>";
}

// The values of one column of a heat map, as shades of a colour.
struct Range {
  double low = INFINITY, high = -INFINITY;
  void Add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // The shade of a value in percent: 0 for the smallest, 45 for the largest. Text stays readable on
  // it.
  int Shade(double value) const {
    return high > low ? static_cast<int>(std::lround(45 * (value - low) / (high - low))) : 0;
  }
};

// One table: a row for each calibration set, a column for each test.
std::string HeatMap(const ReportData& data, const Condition& condition) {
  std::vector<std::string> tests, sets;
  std::map<std::pair<std::string, std::string>, const CellSummary*> cells;
  std::map<std::string, Range> ranges;  // colours compare the calibration sets of one test
  // Collect rows, columns and colours; a cell may be missing.
  for (const CellSummary& summary : data.analysis.cells) {
    const Cell& cell = data.table.cells[summary.cell];
    if (Condition{cell.model, cell.recipe} != condition) continue;
    if (std::ranges::find(tests, cell.test) == tests.end()) tests.push_back(cell.test);
    if (std::ranges::find(sets, cell.calibration) == sets.end()) sets.push_back(cell.calibration);
    cells[{cell.calibration, cell.test}] = &summary;
    ranges[cell.test].Add(summary.excess.value);
  }

  // The header names each test with the unit of its losses.
  HtmlTable table(StrCat(Escape(ConditionText(data, condition.first, condition.second)), ": ",
                         Both("loss − float, by calibration set (rows) and test (columns)",
                              "损失 − 浮点；行为校准集，列为测试")));
  std::vector<std::string> header = {Both("calibrated on", "校准集")};
  for (const std::string& test : tests) {
    header.push_back(
        StrCat(Escape(test), "<br><small>", BothText(data.TestLoss(test)), "</small>"));
  }
  table.Header(header);

  // Fill the rows. A cell of the test's own kind is framed.
  for (const std::string& set : sets) {
    std::vector<HtmlCell> row = {{Escape(set)}};
    for (const std::string& test : tests) {
      // A cell that is not done is a dash.
      const auto found = cells.find({set, test});
      if (found == cells.end()) {
        row.push_back({"–", true});
        continue;
      }
      const CellSummary& summary = *found->second;
      const Cell& cell = data.table.cells[summary.cell];

      // The number, its mark and its standard error; the shade is a variable of the cell's style.
      const LossUnit unit = UnitOf(data.IsShare(test));
      const bool is_iid = cell.relation == Relation::kIid;

      row.push_back(
          {StrCat(Signed(unit.factor * summary.excess.value, unit.digits),
                  Mark(FindComparison(data, cell)), "<br><small>± ",
                  Number(unit.factor * summary.excess.standard_error, unit.digits), "</small>"),
           true,
           StrCat("class=\"n heat", is_iid ? " iid" : "", "\" style=\"--h:",
                  ranges[test].Shade(summary.excess.value), "%\"", is_iid ? " data-iid" : "")});
    }
    table.Row(std::move(row));
  }
  return table.Html("heatmap");
}

// Appends a name that is new; lists are short.
void AddOnce(std::vector<std::string>& names, const std::string& name) {
  if (std::ranges::find(names, name) == names.end()) names.push_back(name);
}

// Items, clusters and seeds of a cell.
std::string Counts(const Cell& cell) {
  return StrCat(cell.items, " / ", cell.excess.clusters(), " / ", cell.excess.seeds());
}

}  // namespace

std::string HeatMapSection(const ReportData& data) {
  std::string maps;
  size_t count = 0;
  for (const Condition& condition : ConditionsOf(data, true)) {
    // The first six maps are open.
    maps += StrCat("<details", count++ < 6 ? " open" : "", "><summary>",
                   Escape(ConditionText(data, condition.first, condition.second)), "</summary>\n",
                   HeatMap(data, condition), "</details>\n");
  }

  if (maps.empty()) return "";
  return Section("heat", {"Calibration against test", "校准集与测试"},
                 StrCat("<p>",
                        Both("Framed: calibration and test of one kind (IID). ▲ worse and ▼ better "
                             "than IID, paired by item and seed, "
                             "Holm-corrected over the study. The stronger the colour, the larger "
                             "the loss on the same test. "
                             "± one standard error.",
                             "加框：校准与测试同分布。▲ 比同分布差、▼ "
                             "比同分布好（按题目与种子配对，全研究 Holm 校正）。"
                             "颜色越深，同一测试上的损失越大。± 为一个标准误。"),
                        "</p>\n", maps));
}

// The large table, with filters.
std::string CellSection(const ReportData& data) {
  std::vector<std::string> models, recipes, sets, tests, relations;
  HtmlTable table(Both("All cells against the float model", "全部单元格与浮点模型的比较"));
  table.Header({Both("recipe", "配方"), Both("calibration", "校准集"), Both("test", "测试"),
                Both("relation", "关系"), Both("items / clusters / seeds", "题目 / 簇 / 种子"),
                Both("score ± SD over seeds", "得分 ± 种子间标准差"), Both("float", "浮点"),
                Both("loss − float [95 %]", "损失 − 浮点 [95%]"), "p", Both("Holm p", "Holm p"),
                Both("effect size", "效应量"), Both("detectable", "可检出"),
                Both("seeds agree", "种子一致"), "KL",
                Both("right→wrong / wrong→right", "对→错 / 错→对"), Both("overlap", "重叠")});
  for (const CellSummary& summary : data.analysis.cells) {
    const Cell& cell = data.table.cells[summary.cell];
    const LossUnit unit = UnitOf(data.IsShare(cell.test));
    const int digits = cell.is_text ? 3 : 4;

    // Collect what the filters offer.
    AddOnce(models, cell.model);
    AddOnce(recipes, cell.recipe);
    AddOnce(sets, cell.calibration);
    AddOnce(tests, cell.test);
    AddOnce(relations, std::string(RelationName(cell.relation)));
    const LocalText relation = RelationText(cell.relation);

    table.Row({{Escape(ConditionText(data, cell.model, cell.recipe))},
               {Escape(cell.calibration)},
               {Escape(cell.test)},
               {BothText(relation)},
               {Counts(cell), true},
               {WithDeviation(summary.score, summary.score_deviation, digits), true},
               {Number(cell.float_score, digits), true},
               {WithInterval(summary.excess, unit), true},
               {PValue(summary.excess.p), true},
               {PValue(summary.p_holm), true},
               {Signed(summary.excess.effect_size, 2), true},
               {Number(unit.factor * summary.excess.detectable, unit.digits), true},
               {StrCat(summary.excess.seeds_agreeing, "/", summary.excess.seeds), true},
               {Number(cell.kl, 4), true},
               {cell.is_text
                    ? "–"
                    : StrCat(Number(cell.right_to_wrong, 1), " / ", Number(cell.wrong_to_right, 1)),
                true},
               {Percent(cell.overlap, 1), true}},
              StrCat("data-row data-model=\"", Escape(cell.model), "\" data-recipe=\"",
                     Escape(cell.recipe), "\" data-calibration=\"", Escape(cell.calibration),
                     "\" data-test=\"", Escape(cell.test), "\" data-relation=\"",
                     RelationName(cell.relation), "\""));
  }

  // Without any cell there is no section.
  if (table.empty()) return "";

  // Filters choose rows by their data attributes, in the page's script.
  std::string filters = "<form class=\"filters\" data-filters=\"cells\">\n";
  filters += FilterSelect("model", BothText({"model", "模型"}), models);
  filters += FilterSelect("recipe", BothText({"recipe", "配方"}), recipes);
  filters += FilterSelect("calibration", BothText({"calibration", "校准集"}), sets);
  filters += FilterSelect("test", BothText({"test", "测试"}), tests);
  filters += FilterSelect("relation", BothText({"relation", "关系"}), relations);
  filters += "<output aria-live=\"polite\"></output></form>\n";

  return Section("cells", {"Every number", "全部数字"},
                 StrCat("<p>",
                        Both("Score: the task's main metric, or perplexity. Loss: 1 − metric, or "
                             "nats. Intervals and p: hierarchical "
                             "bootstrap over seeds and clusters of items, Student's t. Detectable: "
                             "the difference that four of five such "
                             "studies would find. Overlap: share of the test's 13-grams of tokens "
                             "that also occur in the calibration text.",
                             "得分：任务主指标或困惑度。损失：1 − 指标，或 nats。区间与 "
                             "p：对种子与题目簇的分层自助法及 t 分布。"
                             "可检出：五次此类研究中有四次能发现的差异。重叠：测试文本中出现在校准"
                             "文本里的 13 元词元组比例。"),
                        "</p>\n", filters, table.Html("cells")));
}

// The gaps by relation, and how often twins differ.
std::string ControlSection(const ReportData& data) {
  HtmlTable table(
      Both("Generalization gap: mean over tests of the loss when calibrated on other data minus "
           "that on the "
           "test's own kind",
           "泛化差距：在其他数据上校准的损失减去同分布校准的损失（对测试取平均）"));
  table.Header({Both("recipe", "配方"), Both("relation", "关系"), Both("tests", "测试数"),
                Both("gap [95 %]", "差距 [95%]"), "p", "Holm p", Both("seeds agree", "种子一致"),
                Both("detectable", "可检出")});

  // One unit for all gaps, which are means over tests.
  const LossUnit unit = data.UnitOfTests();
  for (const GeneralizationGap& one : data.analysis.gaps) {
    table.Row({{Escape(ConditionText(data, one.model, one.recipe))},
               {BothText(RelationText(one.relation))},
               {StrCat(one.tests), true},
               {StrCat(WithInterval(one.gap, unit)), true},
               {PValue(one.gap.p), true},
               {PValue(one.p_holm), true},
               {StrCat(one.gap.seeds_agreeing, "/", one.gap.seeds), true},
               {Number(unit.factor * one.gap.detectable, unit.digits), true}});
  }

  std::string body;
  if (!table.empty()) body += table.Html();
  const FalseAlarms& alarms = data.analysis.false_alarms;

  // How often twins differ although they should not.
  if (alarms.comparisons > 0) {
    body += StrCat(
        "<p>",
        Both(StrCat("A/A: the same calibration set drawn twice with different seeds differs at p "
                    "&lt; 0.05 in ",
                    alarms.alarms, " of ", alarms.comparisons,
                    " comparisons (exact 95 % interval of the rate if they were independent: ",
                    Percent(alarms.interval.low, 1), " to ", Percent(alarms.interval.high, 1),
                    "). Over all ways to part these seeds into halves: ", alarms.split_alarms,
                    " of ", alarms.splits, "."),
             StrCat("A/A：同一校准集以不同种子抽取两次，在 ", alarms.comparisons, " 次比较中有 ",
                    alarms.alarms, " 次 p &lt; 0.05（若相互独立，该比率的精确 95% 区间：",
                    Percent(alarms.interval.low, 1), " 至 ", Percent(alarms.interval.high, 1),
                    "）。将这些种子以各种方式分成两半：", alarms.splits, " 次中有 ",
                    alarms.split_alarms, " 次。")),
        "</p>\n");
  }
  // Neither gaps nor twins: no section.
  if (body.empty()) return "";
  return Section("gaps", {"Generalization gap and controls", "泛化差距与对照"}, body);
}

}  // namespace qualm
