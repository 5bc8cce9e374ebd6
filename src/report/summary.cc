// The first sections of the report: what the study found, in sentences with their numbers, and
// which recipe to choose. Every sentence exists in both languages.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "report/html.h"
#include "report/sections.h"

namespace qualm {
namespace {

constexpr size_t kMostCostSentences = 12;  // more than these and the sentences are left out

std::string Item(const std::string& en, const std::string& zh) {
  return StrCat("<li>", Both(en, zh), "</li>\n");
}

// A value with its interval, p-values, and how many seeds agree.
std::string Numbers(const Inference& one, const LossUnit& unit, double p_holm) {
  return StrCat(WithInterval(one, unit), ", ", PEquals("p", one.p), ", ", PEquals("Holm p", p_holm),
                ", ", one.seeds_agreeing, "/", one.seeds, " ", Both("seeds", "种子"));
}

// "Is IID calibration best?" for one recipe and one kind of test. Without a significant difference
// the sentence says which difference would have been found.
std::string FamilySentence(const ReportData& data, const FamilyAnswer& one) {
  // The same words in every sentence: where, on which tests, and the numbers.
  const LossUnit unit = data.UnitOfTests(one.family);
  const std::string where = Escape(ConditionText(data, one.model, one.recipe));
  const std::string family = Escape(one.family.empty() ? "all tests" : one.family);
  const std::string numbers = Numbers(one.difference, unit, one.p_holm);

  // NaN counts as not significant.
  if (!(one.p_holm < 0.05)) {
    // The reader must know how large a difference could have been missed.
    return Item(
        StrCat("<b>", where, "</b> on ", family,
               ": no significant difference between "
               "calibrating on the test's own kind of text and on other text (",
               numbers, "; differences from ",
               Number(unit.factor * one.difference.detectable, unit.digits), " ", unit.en,
               " on would have been found in 4 of 5 studies)."),
        StrCat("<b>", where, "</b>（", family, "）：用同类文本校准与用其他文本校准没有显著差异（",
               numbers, "；", Number(unit.factor * one.difference.detectable, unit.digits), " ",
               unit.zh, " 以上的差异有 80% 的机会被发现）。"));
  }

  // A significant difference: say in which direction.
  const bool iid_is_better = one.difference.value > 0;
  return Item(
      StrCat("<b>", where, "</b> on ", family, ": calibrating on the test's own kind of text is ",
             iid_is_better ? "<b>better</b>" : "<b>worse</b>", " than on other text, by ", numbers,
             " (", unit.en, ", ", one.tests, " tests)."),
      StrCat("<b>", where, "</b>（", family, "）：用同类文本校准比用其他文本",
             iid_is_better ? "<b>更好</b>" : "<b>更差</b>", "：", numbers, "（", unit.zh, "，",
             one.tests, " 个测试）。"));
}

// For each recipe and model: how much it loses against the float model, and in how many cells.
std::string CostSentences(const ReportData& data) {
  std::string html;
  std::vector<std::pair<std::string, std::string>> seen;
  for (const CellSummary& summary : data.analysis.cells) {
    const Cell& cell = data.table.cells[summary.cell];
    const std::pair<std::string, std::string> one = {cell.model, cell.recipe};
    if (std::ranges::find(seen, one) != seen.end()) continue;
    seen.push_back(one);

    // Count over the cells of this condition.
    size_t all = 0, worse = 0, better = 0;
    double least = INFINITY, most = -INFINITY;
    for (const CellSummary& other : data.analysis.cells) {
      const Cell& its = data.table.cells[other.cell];
      if (its.model != cell.model || its.recipe != cell.recipe) continue;
      ++all;
      worse += other.p_holm < 0.05 && other.excess.value > 0 ? 1 : 0;
      better += other.p_holm < 0.05 && other.excess.value < 0 ? 1 : 0;
      const LossUnit unit = data.UnitOfTests();
      least = std::min(least, unit.factor * other.excess.value);
      most = std::max(most, unit.factor * other.excess.value);
    }

    const LossUnit unit = data.UnitOfTests();
    const std::string where = Escape(ConditionText(data, cell.model, cell.recipe));
    html += Item(StrCat("<b>", where, "</b> (", Number(cell.bits, 2), " bits per weight) loses ",
                        Signed(least, unit.digits), " to ", Signed(most, unit.digits), " ", unit.en,
                        " against the float model; significantly worse in ", worse,
                        " and better in ", better, " of ", all, " cells (Holm)."),
                 StrCat("<b>", where, "</b>（每权重 ", Number(cell.bits, 2),
                        " 比特）相对浮点模型的损失变化为 ", Signed(least, unit.digits), " 至 ",
                        Signed(most, unit.digits), " ", unit.zh, "；", all, " 个单元格中 ", worse,
                        " 个显著变差，", better, " 个显著变好（Holm 校正）。"));
  }

  // A long list says nothing, and the table of all cells has the same numbers.
  return seen.size() > kMostCostSentences ? "" : html;
}

// The bounds of a budget in words.
std::string BudgetText(const Budget& budget, bool is_chinese) {
  // The language decides the words, not the order.
  std::string text;
  if (budget.bits_per_weight > 0) {
    text += is_chinese ? StrCat("每权重不超过 ", Number(budget.bits_per_weight, 2), " 比特")
                       : StrCat("at most ", Number(budget.bits_per_weight, 2), " bits per weight");
  }

  if (budget.tokens_per_second > 0) {
    if (!text.empty()) text += is_chinese ? "，" : " and ";
    text += is_chinese
                ? StrCat("每秒至少 ", Number(budget.tokens_per_second, 0), " 个词元")
                : StrCat("at least ", Number(budget.tokens_per_second, 0), " tokens per second");
  }

  if (text.empty()) text = is_chinese ? "不设预算" : "no budget";
  return text;
}

std::string NameOf(const Candidate& candidate) {
  if (candidate.calibration == "-") return Escape(candidate.recipe);
  return Escape(StrCat(candidate.recipe, " · ", candidate.calibration));
}

// The advice in one sentence: decided, the only candidate, or a group without difference.
std::string Verdict(const Guidance& guidance) {
  if (guidance.candidates.empty()) {
    return Both("No candidate fits this budget.", "没有候选方案符合该预算。");
  }

  // Candidates are sorted, and the first has the smallest loss.
  const Candidate& best = guidance.candidates[0];
  size_t equal = 0;
  for (const Candidate& one : guidance.candidates) equal += one.is_worse ? 0 : 1;
  if (guidance.candidates.size() == 1) {
    return Both(StrCat("<b>", NameOf(best), "</b> is the only candidate."),
                StrCat("<b>", NameOf(best), "</b> 是唯一的候选方案。"));
  }

  // Decided: the first is better than each of the rest.
  if (guidance.is_decided) {
    return Both(
        StrCat("Take <b>", NameOf(best), "</b>: significantly better than all ",
               guidance.candidates.size() - 1, " others (probability of being best ",
               Number(best.probability_best, 2), ")."),
        StrCat("选择 <b>", NameOf(best), "</b>：显著优于其余 ", guidance.candidates.size() - 1,
               " 个方案（最优概率 ", Number(best.probability_best, 2), "）。"));
  }

  return Both(
      StrCat("<b>No significant difference</b> among the first ", equal, " of ",
             guidance.candidates.size(), " candidates; the smallest loss has <b>", NameOf(best),
             "</b> (probability of being best ", Number(best.probability_best, 2), ")."),
      StrCat("前 ", equal, " 个方案（共 ", guidance.candidates.size(),
             " 个）之间<b>没有显著差异</b>；损失最小的是 <b>", NameOf(best), "</b>（最优概率 ",
             Number(best.probability_best, 2), "）。"));
}

}  // namespace

std::string SummarySection(const ReportData& data) {
  std::string body =
      StrCat("<p class=\"question\">",
             Both(Escape(data.plan.spec.question.en), Escape(data.plan.spec.question.zh)),
             "</p>\n<ul class=\"findings\">\n");

  // The answers, the costs, and the advice.
  for (const FamilyAnswer& one : data.analysis.families) body += FamilySentence(data, one);
  body += CostSentences(data);
  for (const Guidance& guidance : data.analysis.guidance) {
    const std::string model = data.plan.spec.models.size() > 1 ? Escape(guidance.model) + ": " : "";
    body += StrCat("<li>", model,
                   Both(StrCat("With ", BudgetText(guidance.budget, false), ": "),
                        StrCat("在“", BudgetText(guidance.budget, true), "”条件下：")),
                   Verdict(guidance), "</li>\n");
  }

  // How often the study's own test finds a difference where there is none.
  const FalseAlarms& alarms = data.analysis.false_alarms;
  if (alarms.comparisons > 0) {
    body += Item(
        StrCat("Control: of ", alarms.comparisons,
               " comparisons of a calibration set with itself, drawn again, ", alarms.alarms,
               " had p &lt; 0.05 (expected 5 %; exact 95 % interval of the rate ",
               Percent(alarms.interval.low, 1), " to ", Percent(alarms.interval.high, 1), ")."),
        StrCat("对照：同一校准集重新抽样后与自身比较 ", alarms.comparisons, " 次，其中 ",
               alarms.alarms, " 次 p &lt; 0.05（预期 5%；该比率的精确 95% 区间为 ",
               Percent(alarms.interval.low, 1), " 至 ", Percent(alarms.interval.high, 1), "）。"));
  }

  body += "</ul>\n";

  // Warnings for readers who would take the numbers for more than they are.
  if (data.plan.spec.seeds == 1) {
    body += StrCat("<p class=\"warning\">",
                   Both("One seed: intervals and p-values hold the items' variation only, not that "
                        "of drawing the calibration set again. "
                        "Differences between calibration sets are then found too often; the A/A "
                        "control shows how often.",
                        "仅一个种子：区间与 p "
                        "值只包含题目的变异，不包含重新抽取校准集的变异。校准集之间的差异因此会被过"
                        "多地判为显著；A/A 对照给出其频率。"),
                   "</p>\n");
  }

  // Results of an unfinished study may still change.
  if (data.table.missing_runs > 0) {
    body += StrCat(
        "<p class=\"warning\">",
        Both(StrCat(data.table.missing_runs, " of ", data.table.runs,
                    " cells are missing: their stages are not done or failed (see provenance). "
                    "What is said here is about the others."),
             StrCat(data.table.runs, " 个单元格中缺少 ", data.table.missing_runs,
                    " 个：其阶段未完成或失败（见“来源”）。以下结论仅针对其余部分。")),
        "</p>\n");
  }
  return Section("summary", {"What was found", "结论"}, body);
}

std::string GuidanceSection(const ReportData& data) {
  std::string body = StrCat(
      "<p>",
      Both("Mean loss over all tests of the study relative to the float model; each test counts "
           "equally. "
           "P(best) is the share of bootstrap replicates in which a candidate has the smallest "
           "loss; “not worse” means "
           "that a paired test against the first one, Holm-corrected, finds nothing at 5 %.",
           "相对浮点模型、对全部测试等权平均的损失。P(最优) 是自助法重复中该方案损失最小的比例；"
           "“不更差”表示与第一名的配对检验（Holm 校正）在 5% 水平下没有发现差异。"),
      "</p>\n");
  for (const Guidance& guidance : data.analysis.guidance) {
    if (guidance.candidates.empty()) continue;

    // The heading names the model, the budget and the unit.
    const bool is_share = guidance.unit == "share";
    const LossUnit unit = UnitOf(is_share);
    HtmlTable table(
        StrCat(Escape(guidance.model), ": ",
               Both(BudgetText(guidance.budget, false), BudgetText(guidance.budget, true)), " (",
               Escape(is_share ? unit.en : guidance.unit), ", ", guidance.tests, " ",
               Both("tests", "个测试"), ")"));
    table.Header(
        {Both("candidate", "方案"), Both("bits/weight", "比特/权重"), Both("tokens/s", "词元/秒"),
         Both("loss − float [95 %]", "损失 − 浮点 [95%]"), Both("P(best)", "P(最优)"),
         Both("Holm p against the first", "与第一名比较的 Holm p"), Both("verdict", "结论")});

    // The first 25 candidates; a longer table is for other programs.
    for (size_t i = 0; i < guidance.candidates.size() && i < 25; ++i) {
      const Candidate& one = guidance.candidates[i];
      std::string comparison = one.is_worse ? Both("worse", "更差") : Both("not worse", "不更差");
      if (i == 0) comparison = Both("smallest loss", "损失最小");
      table.Row({{NameOf(one)},
                 {Number(one.bits, 2), true},
                 {Number(one.tokens_per_second, 1), true},
                 {WithInterval(one.loss, unit), true},
                 {Number(one.probability_best, 3), true},
                 {i == 0 ? "" : PValue(one.p_worse), true},
                 {comparison}});
    }
    body += StrCat("<p>", Verdict(guidance), "</p>\n", table.Html());

    // What the mean and the table leave out is said below it.
    if (!guidance.tests_left_out.empty()) {
      const std::string tests = Escape(Join(guidance.tests_left_out, ", "));
      body += StrCat(
          "<p class=\"note\">",
          Both(StrCat("Not in the mean, because the float model's losses are all equal: ", tests,
                      "."),
               StrCat("因浮点模型的损失全部相同而未计入平均：", tests, "。")),
          "</p>\n");
    }
    // Candidates may be missing because of the budget or because a stage is not done.
    if (guidance.candidates.size() > 25 || guidance.left_out > 0) {
      body += StrCat(
          "<p class=\"note\">",
          Both(StrCat("The first 25 of ", guidance.candidates.size(), "; ", guidance.left_out,
                      " more are over the budget, not measured, or not whole."),
               StrCat("共 ", guidance.candidates.size(), " 个，最多显示 25 个；另有 ",
                      guidance.left_out, " 个超出预算、未测量或不完整。")),
          "</p>\n");
    }
  }
  return Section("guidance", {"Which one to take", "该选哪个"}, body);
}

}  // namespace qualm
