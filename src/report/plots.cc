// The sections of the report that are charts: forest plots, Pareto fronts, calibration sizes,
// proxies, and the quality of layers. Each takes the analysis and gives HTML, or nothing if the
// study has no data for it.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/strings.h"
#include "report/charts.h"
#include "report/html.h"
#include "report/sections.h"
#include "study/work_folder.h"

namespace qualm {
namespace {

// A chart with its caption; it can be focused, because wide charts scroll.
std::string Figure(const std::string& chart, const std::string& caption) {
  return StrCat("<figure tabindex=\"0\">", chart, "<figcaption>", caption,
                "</figcaption></figure>\n");
}

// Models and recipes that have comparisons, in the comparisons' order.
std::vector<std::pair<std::string, std::string>> ComparedConditions(const ReportData& data) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const CalibrationComparison& one : data.analysis.comparisons) {
    const std::pair<std::string, std::string> condition = {one.model, one.recipe};
    if (std::ranges::find(all, condition) == all.end()) all.push_back(condition);
  }
  return all;
}

// The guidance of one model without a budget, which has all its candidates.
const Guidance* UnboundedGuidance(const ReportData& data, const std::string& model) {
  for (const Guidance& guidance : data.analysis.guidance) {
    const Budget& budget = guidance.budget;
    const bool is_unbounded = budget.bits_per_weight == 0 && budget.tokens_per_second == 0;
    if (guidance.model == model && is_unbounded) return &guidance;
  }
  return nullptr;
}

// The part of a recipe's name before its bits: "gptq-w4-g64" → "gptq". It is the series of a chart.
std::string MethodOf(const std::string& recipe) {
  const size_t at = recipe.find("-w");
  return at == std::string::npos ? recipe : recipe.substr(0, at);
}

// Loss against bits, or against decoding speed, of one model's candidates.
std::string Front(const ReportData& data, const Guidance& guidance, bool by_speed) {
  const LossUnit unit = UnitOf(guidance.unit == "share");
  std::vector<ScatterPoint> points;
  for (const Candidate& one : guidance.candidates) {
    ScatterPoint point;
    point.label = StrCat(one.recipe, one.calibration == "-" ? "" : StrCat(" · ", one.calibration));
    point.series = MethodOf(one.recipe);
    point.x = by_speed ? one.tokens_per_second : one.bits;
    point.y = unit.factor * one.loss.value;
    point.low = unit.factor * one.loss.low;
    point.high = unit.factor * one.loss.high;

    // A candidate whose speed was not measured has no place in the chart.
    if (std::isfinite(point.x)) points.push_back(point);
  }

  // A single point has no front.
  if (points.size() < 2) return "";
  MarkFront(points, by_speed);

  // Texts for the axes and for readers who do not see the chart.
  const LocalText x =
      by_speed ? LocalText{"decoded tokens per second (measured)", "解码速度（词元/秒，实测）"}
               : LocalText{"bits per weight of the quantized layers", "量化层每权重比特数"};
  const std::string unit_en = guidance.unit == "share" ? unit.en : guidance.unit;
  const LocalText y = {
      StrCat("mean loss − float, ", unit_en),
      StrCat("平均损失 − 浮点（", guidance.unit == "share" ? unit.zh : guidance.unit, "）")};
  const LocalText description = {
      StrCat(guidance.model, ": loss against ", by_speed ? "decoding speed" : "bits per weight",
             " of ", points.size(), " candidates; numbers in the table of the section on guidance"),
      StrCat(guidance.model, "：", points.size(), " 个方案的损失与",
             by_speed ? "解码速度" : "每权重比特数", "的关系；数值见“该选哪个”一节的表格")};

  return Figure(ScatterPlot(points, x, y, description),
                StrCat(data.plan.spec.models.size() > 1 ? Escape(guidance.model) + ": " : "",
                       Both("One dot for each recipe and calibration set, with the 95 % interval "
                            "of its mean loss; the line joins those that no "
                            "other one beats.",
                            "每个点是一个配方与校准集，竖线为平均损失的 95% "
                            "区间；折线连接不被任何其他方案超越的点。")));
}

// Calibration tokens of a set.
double TokensOf(const CalibrationSpec& set) {
  return static_cast<double>(set.sampler.samples * set.sampler.length);
}

// The name without the set's size: "stories-16x256" → "stories". Empty if the name does not end in
// it.
std::string BaseOf(const CalibrationSpec& set) {
  const std::string size = StrCat("-", set.sampler.samples, "x", set.sampler.length);
  return set.name.ends_with(size) ? set.name.substr(0, set.name.size() - size.size()) : "";
}

// Loss against the number of calibration tokens, for one recipe on one test.
std::string SizeChart(const ReportData& data, const std::string& model, const std::string& recipe,
                      const std::string& test) {
  std::map<std::string, LineSeries> series;  // by base and length
  const LossUnit unit = UnitOf(data.IsShare(test));
  for (const CellSummary& summary : data.analysis.cells) {
    const Cell& cell = data.table.cells[summary.cell];
    if (cell.model != model || cell.recipe != recipe || cell.test != test) continue;
    if (cell.calibration == "-") continue;
    const CalibrationSpec& set = data.plan.spec.Calibration(cell.calibration);

    // Only sets whose names differ by their size alone form a curve; twins are left out.
    const std::string base = BaseOf(set);
    if (base.empty() || !set.again.empty()) continue;
    LineSeries& one = series[StrCat(base, " × ", set.sampler.length)];
    one.x.push_back(TokensOf(set));
    one.y.push_back(unit.factor * summary.excess.value);
    one.low.push_back(unit.factor * summary.excess.low);
    one.high.push_back(unit.factor * summary.excess.high);
  }

  // A single size is a point, not a curve.
  std::vector<LineSeries> all;
  for (auto& [label, one] : series) {
    one.label = label;
    if (one.x.size() > 1) all.push_back(one);
  }
  if (all.empty()) return "";

  const LocalText loss = data.TestLoss(test);
  return Figure(
      LinePlot(all, {"calibration tokens", "校准词元数"},
               {StrCat("loss − float: ", loss.en), StrCat("损失 − 浮点：", loss.zh)},
               {StrCat(recipe, " on ", test, ": loss against the number of calibration tokens"),
                StrCat(recipe, "，", test, "：损失与校准词元数的关系")}),
      StrCat(Escape(ConditionText(data, model, recipe)), " · ", Escape(test)));
}

}  // namespace

// One chart for each condition that was compared with calibration on the test's own kind.
std::string ForestSection(const ReportData& data) {
  std::string body;
  size_t count = 0;
  for (const auto& [model, recipe] : ComparedConditions(data)) {
    std::vector<ForestRow> rows;
    const LossUnit unit = data.UnitOfTests();  // one axis for all rows
    for (const CalibrationComparison& one : data.analysis.comparisons) {
      if (one.model != model || one.recipe != recipe) continue;
      // A row is named by what was tested and what was calibrated on.
      rows.push_back({StrCat(one.test, " ← ", one.calibration), unit.factor * one.difference.value,
                      unit.factor * one.difference.low, unit.factor * one.difference.high,
                      one.p_holm < 0.05});
    }

    // The axis, and a description for readers who do not see the chart.
    const std::string where = ConditionText(data, model, recipe);
    const std::string chart = ForestPlot(
        rows,
        {StrCat("loss − loss when calibrated IID, ", unit.en),
         StrCat("损失 − 同分布校准的损失（", unit.zh, "）")},
        {StrCat(where, ": ", rows.size(),
                " paired differences with 95 % intervals; positive: worse than IID"),
         StrCat(where, "：", rows.size(), " 个配对差异及 95% 区间；正值表示比同分布差")});

    // The first four charts are open; a page of many is easier to survey when the rest is closed.
    body += StrCat(
        "<details", count++ < 4 ? " open" : "", "><summary>", Escape(where), "</summary>\n",
        Figure(chart, Both("test ← calibration set; filled: significant after Holm's correction",
                           "测试 ← 校准集；实心：Holm 校正后显著")),
        "</details>\n");
  }
  if (body.empty()) return "";
  return Section("forest", {"Paired differences", "配对差异"}, body);
}

// Two charts for each model: loss against size, and against speed where it was measured.
std::string FrontSection(const ReportData& data) {
  std::string body;
  for (const std::string& model : data.plan.spec.models) {
    const Guidance* guidance = UnboundedGuidance(data, model);
    if (guidance == nullptr) continue;
    body += Front(data, *guidance, false);
    body += Front(data, *guidance, true);
  }
  if (body.empty()) return "";
  return Section("front", {"Loss against size and speed", "损失与大小、速度"}, body);
}

// Charts for the sets whose names differ by their size alone.
std::string SizeSection(const ReportData& data) {
  std::string body;
  for (const auto& [model, recipe] : ComparedConditions(data)) {
    for (const TestSpec& test : data.plan.spec.tests) {
      body += SizeChart(data, model, recipe, test.name);
    }
  }
  if (body.empty()) return "";
  return Section("sizes", {"How much calibration data", "需要多少校准数据"}, body);
}

// The correlations as a table; there are too few points for a chart.
std::string ProxySection(const ReportData& data) {
  HtmlTable table(
      Both("Rank correlation over recipes and calibration sets", "跨配方与校准集的秩相关"));
  table.Header({Both("measure on a text", "文本上的度量"), Both("task loss", "任务损失"),
                Both("conditions", "条件数"), Both("Spearman [95 %]", "Spearman [95%]")});

  // An empty test name means all tasks together.
  for (const ProxyAnswer& one : data.analysis.proxies) {
    table.Row(
        {{Escape(ConditionText(data, one.model, one.measure))},
         {one.test.empty() ? Both("mean of all tasks", "全部任务平均") : Escape(one.test)},
         {StrCat(one.points), true},
         {StrCat(Signed(one.spearman, 2), " [", Signed(one.low, 2), ", ", Signed(one.high, 2), "]"),
          true}});
  }
  if (table.empty()) return "";
  return Section(
      "proxies", {"Does perplexity or KL predict task scores?", "困惑度或 KL 能预测任务得分吗？"},
      StrCat("<p>",
             Both("Positive: what loses more on the text loses more on the task. Intervals: "
                  "bootstrap over conditions.",
                  "正值：在文本上损失更大的方案在任务上损失也更大。区间：对条件的自助法。"),
             "</p>\n", table.Html()));
}

// The relative output error of every layer, averaged over the artefacts of a recipe.
std::string LayerSection(const ReportData& data) {
  // Sums over artefacts; n counts them.
  struct Sum {
    double held_out = 0, calibration = 0;
    size_t n = 0, fell_back = 0;
  };

  std::vector<std::string> recipes;
  std::map<std::string, std::map<std::string, Sum>> sums;  // recipe, layer
  std::map<std::string, std::vector<std::string>> layers;  // in model order
  std::vector<std::string> seen;

  // Several cells may share one artefact, which counts once.
  for (const Cell& cell : data.table.cells) {
    const std::string recipe = ConditionText(data, cell.model, cell.recipe);
    for (const std::string& key : cell.quantize_keys) {
      if (std::ranges::find(seen, key) != seen.end()) continue;
      seen.push_back(key);

      // Artefacts without statistics of their layers are skipped.
      const std::optional<StageRecord> record = data.work.ReadRecord(key);
      const auto* quantized = record ? std::get_if<QuantizeOutcome>(&record->outcome) : nullptr;
      if (quantized == nullptr) continue;
      if (!sums.contains(recipe)) recipes.push_back(recipe);
      for (const LayerOutcome& layer : quantized->layers) {
        Sum& sum = sums[recipe][layer.name];
        if (sum.n++ == 0) layers[recipe].push_back(layer.name);
        sum.held_out += layer.held_out;
        sum.calibration += layer.calibration;
        sum.fell_back += layer.fell_back ? 1 : 0;
      }
    }
  }

  std::string body;
  for (const std::string& recipe : recipes) {
    HtmlTable table(
        StrCat(Escape(recipe), ": ",
               Both("relative output error by layer, mean over calibration sets and seeds",
                    "各层相对输出误差（对校准集与种子取平均）")));
    table.Header({Both("layer", "层"), Both("calibration tokens", "校准词元"),
                  Both("held-out tokens", "留出词元"), Both("n", "n"),
                  Both("fell back to RTN", "退回 RTN")});

    // The largest error sets the length of the bars.
    double largest = 0;
    for (const std::string& name : layers[recipe]) {
      const Sum& sum = sums[recipe][name];
      const double held_out = sum.held_out / static_cast<double>(sum.n);
      if (std::isfinite(held_out)) largest = std::max(largest, held_out);
    }
    if (largest == 0) continue;  // a recipe without calibration data measures nothing

    // One row for each layer, with a bar for the error on tokens that were held out.
    for (const std::string& name : layers[recipe]) {
      const Sum& sum = sums[recipe][name];
      const double n = static_cast<double>(sum.n);

      // A layer without held-out tokens has no bar.
      const double width = std::isfinite(sum.held_out) ? 100 * sum.held_out / n / largest : 0;
      table.Row({{Escape(name)},
                 {Number(sum.calibration / n, 4), true},
                 {StrCat("<span class=\"meter\" style=\"--w:", Fixed(width, 0), "%\">",
                         Number(sum.held_out / n, 4), "</span>"),
                  true},
                 {StrCat(sum.n), true},
                 {StrCat(sum.fell_back), true}});
    }
    body += StrCat("<details><summary>", Escape(recipe), "</summary>\n", table.Html("layers"),
                   "</details>\n");
  }
  if (body.empty()) return "";
  return Section("layers", {"Quality by layer", "各层质量"}, body);
}

}  // namespace qualm
