// The report as Markdown, CSV and LaTeX: the same numbers as the page, for terminals, spreadsheets
// and papers.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "report/html.h"
#include "report/report.h"

namespace qualm {
namespace {

// A number with all its digits; empty if there is none.
std::string Plain(double value) { return std::isfinite(value) ? StrCat(value) : ""; }

// A vertical bar would end the cell of a Markdown table.
std::string MarkdownCell(std::string text) {
  for (size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) {
    text.replace(at, 1, "\\|");
  }
  return text;
}

// Text with LaTeX's special characters escaped.
std::string LatexText(std::string_view text) {
  std::string out;
  for (char c : text) {
    // These need a backslash; three others have commands instead.
    if (std::string_view("&%$#_{}").find(c) != std::string_view::npos) {
      out += '\\';
      out += c;
    } else if (c == '~') {
      out += "\\textasciitilde{}";
    } else if (c == '^') {
      out += "\\textasciicircum{}";
    } else if (c == '\\') {
      out += "\\textbackslash{}";
    } else {
      out += c;
    }
  }
  return out;
}

// A number such as 0.123 in mathematics, which gives it a real minus sign.
std::string LatexNumber(double value, int digits, bool is_signed) {
  if (!std::isfinite(value)) return "--";
  const std::string text = Fixed(std::abs(value), digits);
  const char* sign = is_signed ? "+" : "";
  if (value < 0) sign = "-";
  return StrCat("$", sign, text, "$");
}

// The bounds of a budget in words.
std::string BudgetName(const Budget& budget) {
  std::string text;
  if (budget.bits_per_weight > 0) text = StrCat("at most ", budget.bits_per_weight, " bits/weight");
  if (budget.tokens_per_second > 0) {
    text += StrCat(text.empty() ? "" : ", ", "at least ", budget.tokens_per_second, " tokens/s");
  }
  return text.empty() ? "no bound" : text;
}

// The recipe and the calibration set; "-" means that the recipe uses none.
std::string CandidateName(const Candidate& one) {
  return one.calibration == "-" ? one.recipe : StrCat(one.recipe, " · ", one.calibration);
}

// A table of candidates for each model and budget.
std::string MarkdownGuidance(const ReportData& data) {
  std::string text;
  for (const Guidance& guidance : data.analysis.guidance) {
    if (guidance.candidates.empty()) continue;
    const bool is_share = guidance.unit == "share";
    const LossUnit unit = UnitOf(is_share);

    // One candidate, several without a significant difference, or a decision.
    const char* verdict = "The only candidate.\n";
    if (guidance.candidates.size() > 1) {
      verdict = "No significant difference between the first and those marked \"not worse\".\n";
    }
    if (guidance.is_decided) verdict = "The first is significantly better than all others.\n";

    text +=
        StrCat("\n### ", guidance.model, ": ", BudgetName(guidance.budget), "\n\n", verdict,
               guidance.tests_left_out.empty()
                   ? ""
                   : StrCat("\nNot in the mean, because the float model's losses are all equal: ",
                            Join(guidance.tests_left_out, ", "), ".\n"),
               "\n| candidate | bits/weight | tokens/s | loss − float (",
               is_share ? unit.en : guidance.unit,
               ") [95 %] | P(best) | Holm p | |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < guidance.candidates.size() && i < 25; ++i) {
      const Candidate& one = guidance.candidates[i];
      const char* comparison = one.is_worse ? "worse" : "not worse";
      if (i == 0) comparison = "";  // the first is what the others are compared with
      text += StrCat("| ", MarkdownCell(CandidateName(one)), " | ", Number(one.bits, 2), " | ",
                     Number(one.tokens_per_second, 1), " | ", WithInterval(one.loss, unit), " | ",
                     Number(one.probability_best, 3), " | ", i == 0 ? "" : Number(one.p_worse, 3),
                     " | ", comparison, " |\n");
    }
  }
  return text;
}

// One row for each recipe and relation.
std::string MarkdownGaps(const ReportData& data) {
  if (data.analysis.gaps.empty()) return "";
  const LossUnit unit = data.UnitOfTests();
  std::string text = StrCat(
      "\n## Generalization gap (", unit.en,
      ")\n\n| recipe | relation | tests | gap [95 %] | p | Holm p | seeds agree | detectable |\n"
      "|---|---|---|---|---|---|---|---|\n");

  // Positive gaps: other data is worse than the test's own kind.
  for (const GeneralizationGap& one : data.analysis.gaps) {
    text += StrCat("| ", MarkdownCell(ConditionText(data, one.model, one.recipe)), " | ",
                   RelationText(one.relation).en, " | ", one.tests, " | ",
                   WithInterval(one.gap, unit), " | ", Number(one.gap.p, 4), " | ",
                   Number(one.p_holm, 4), " | ", one.gap.seeds_agreeing, "/", one.gap.seeds, " | ",
                   Number(unit.factor * one.gap.detectable, unit.digits), " |\n");
  }
  return text;
}

// "Is IID calibration best?", one row for each recipe and kind of test.
std::string MarkdownFamilies(const ReportData& data) {
  if (data.analysis.families.empty()) return "";
  const LossUnit unit = data.UnitOfTests();
  std::string text =
      StrCat("\n## Is IID calibration best? (", unit.en,
             "; other data minus IID: positive means yes)\n\n| recipe | kind of test | tests | "
             "difference [95 %] | Holm p | answer |\n|---|---|---|---|---|---|\n");

  // Only a significant difference is called an answer.
  for (const FamilyAnswer& one : data.analysis.families) {
    const char* answer = one.difference.value > 0 ? "yes" : "no: worse";
    if (!(one.p_holm < 0.05)) answer = "no significant difference";
    text += StrCat("| ", MarkdownCell(ConditionText(data, one.model, one.recipe)), " | ",
                   one.family, " | ", one.tests, " | ", WithInterval(one.difference, unit), " | ",
                   Number(one.p_holm, 4), " | ", answer, " |\n");
  }
  return text;
}

// One row for each cell.
std::string MarkdownCells(const ReportData& data) {
  std::string text =
      "\n## Cells\n\n| recipe | calibration | test | relation | items/clusters/seeds | score | "
      "float | loss − float "
      "[95 %] | Holm p | KL | overlap |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const CellSummary& summary : data.analysis.cells) {
    const Cell& cell = data.table.cells[summary.cell];

    // Losses of shares are shown in percentage points.
    const LossUnit unit = UnitOf(data.IsShare(cell.test));
    text +=
        StrCat("| ", MarkdownCell(ConditionText(data, cell.model, cell.recipe)), " | ",
               MarkdownCell(cell.calibration), " | ", MarkdownCell(cell.test), " | ",
               RelationText(cell.relation).en, " | ", cell.items, "/", cell.excess.clusters(), "/",
               cell.excess.seeds(), " | ", WithDeviation(summary.score, summary.score_deviation, 4),
               " | ", Number(cell.float_score, 4), " | ", WithInterval(summary.excess, unit), " | ",
               Number(summary.p_holm, 4), " | ", Number(cell.kl, 4), " | ",
               Percent(cell.overlap, 1), " |\n");
  }
  return text;
}

}  // namespace

std::string MarkdownReport(const ReportData& data) {
  const FalseAlarms& alarms = data.analysis.false_alarms;

  // The head says what was asked, by which versions, and how much of it is done.
  std::string text =
      StrCat("# ", data.plan.spec.title.en, "\n\n", data.plan.spec.question.en, "\n\nStudy ",
             data.plan.spec.name, " v", data.plan.spec.version, "; ",
             data.table.runs - data.table.missing_runs, " of ", data.table.runs, " cells; qualm ",
             data.plan.version, ", ", data.plan.instruction_set, ".\n");

  // What is missing comes before what was found.
  for (const std::string& one : data.plan.skipped) text += StrCat("\nLeft out: ", one, "\n");
  for (const std::string& one : data.table.failures) text += StrCat("\nFailed: ", one, "\n");
  if (data.plan.spec.seeds == 1) {
    text +=
        "\nOne seed: intervals and p-values hold the items' variation only, not that of drawing "
        "the calibration set "
        "again; differences between calibration sets are found too often (see A/A).\n";
  }

  // The findings come before the numbers that they rest on.
  text += MarkdownFamilies(data) + MarkdownGaps(data);
  if (alarms.comparisons > 0) {
    text += StrCat(
        "\nA/A: ", alarms.alarms, " of ", alarms.comparisons,
        " comparisons of a calibration set with itself have p < 0.05 (exact 95 % interval ",
        Percent(alarms.interval.low, 1), " to ", Percent(alarms.interval.high, 1),
        "); over all halvings of the seeds ", alarms.split_alarms, " of ", alarms.splits, ".\n");
  }

  // Then the advice, the proxies, and every cell.
  text += StrCat("\n## Guidance\n", MarkdownGuidance(data));
  if (!data.analysis.proxies.empty()) {
    text +=
        "\n## Proxies\n\n| measure | task | conditions | Spearman [95 %] |\n|---|---|---|---|\n";
    for (const ProxyAnswer& one : data.analysis.proxies) {
      text += StrCat("| ", MarkdownCell(ConditionText(data, one.model, one.measure)), " | ",
                     one.test.empty() ? "mean of all" : one.test, " | ", one.points, " | ",
                     Signed(one.spearman, 2), " [", Signed(one.low, 2), ", ", Signed(one.high, 2),
                     "] |\n");
    }
  }
  return text + MarkdownCells(data);
}

// One line for each cell: names, score, loss with its inference, then everything else.
std::string CsvReport(const ReportData& data) {
  std::string text =
      "model,recipe,calibration,test,relation,metric,items,clusters,seeds,score_mean,score_sd,"
      "float_score,"
      "loss_excess,loss_stderr,loss_low,loss_high,df,p,p_holm,effect_size,detectable,seeds_"
      "agreeing,kl,kl_stderr,"
      "right_to_wrong,wrong_to_right,near_ties,overlap,bits_per_weight,bits_per_weight_model,"
      "decode_tokens_per_s\n";
  for (const CellSummary& summary : data.analysis.cells) {
    const Cell& cell = data.table.cells[summary.cell];
    const Inference& excess = summary.excess;

    // The names and the score.
    text +=
        StrCat(CsvField(cell.model), ",", CsvField(cell.recipe), ",", CsvField(cell.calibration),
               ",", CsvField(cell.test), ",", RelationName(cell.relation), ",", cell.metric, ",",
               cell.items, ",", excess.clusters, ",", excess.seeds, ",", Plain(summary.score), ",",
               Plain(summary.score_deviation), ",", Plain(cell.float_score), ",");

    // The loss against the float model, with its inference.
    text += StrCat(Plain(excess.value), ",", Plain(excess.standard_error), ",", Plain(excess.low),
                   ",", Plain(excess.high), ",", Plain(excess.df), ",", Plain(excess.p), ",",
                   Plain(summary.p_holm), ",", Plain(excess.effect_size), ",",
                   Plain(excess.detectable), ",", excess.seeds_agreeing, ",");

    // Distances from the float model, size and speed.
    text += StrCat(Plain(cell.kl), ",", Plain(cell.kl_error), ",", Plain(cell.right_to_wrong), ",",
                   Plain(cell.wrong_to_right), ",", cell.near_ties, ",", Plain(cell.overlap), ",",
                   Plain(cell.bits), ",", Plain(cell.model_bits), ",",
                   Plain(cell.decode_tokens_per_s), "\n");
  }
  return text;
}

// For each model a table with a column for every test; rows are recipes with calibration sets.
std::string LatexReport(const ReportData& data) {
  std::string text =
      StrCat("% ", data.plan.spec.name, " v", data.plan.spec.version, ", qualm ", data.plan.version,
             "; needs booktabs. Bold: IID; * Holm p < 0.05 against IID.\n");
  for (const std::string& model : data.plan.spec.models) {
    // A test without a float result has no column.
    std::vector<std::string> tests;
    for (const TestSpec& test : data.plan.spec.tests) {
      if (data.table.Find(model, "float", "-", test.name) != nullptr) tests.push_back(test.name);
    }

    text += StrCat("\\begin{tabular}{ll", std::string(tests.size(), 'r'),
                   "}\n\\toprule\nrecipe & calibration");
    for (const std::string& test : tests) text += StrCat(" & ", LatexText(test));
    text += " \\\\\n\\midrule\n";

    // Rows in the table's order, the float model first.
    std::vector<std::pair<std::string, std::string>> rows;
    for (const Cell& cell : data.table.cells) {
      const std::pair<std::string, std::string> row = {cell.recipe, cell.calibration};
      if (cell.model == model && std::ranges::find(rows, row) == rows.end()) rows.push_back(row);
    }

    // Each cell is the loss against the float model; the float model's own row has its scores.
    for (const auto& [recipe, calibration] : rows) {
      text += StrCat(LatexText(recipe), " & ", LatexText(calibration));
      for (const std::string& test : tests) {
        // A cell that is not done is a dash.
        const Cell* cell = data.table.Find(model, recipe, calibration, test);
        if (cell == nullptr) {
          text += " & --";
          continue;
        }
        if (recipe == "float") {
          text += StrCat(" & ", LatexNumber(cell->float_score, cell->is_text ? 2 : 3, false));
          continue;
        }

        // A bold number is calibrated on the test's own kind.
        const LossUnit unit = UnitOf(data.IsShare(test));
        std::string number = LatexNumber(unit.factor * cell->excess.Mean(), unit.digits, true);
        if (cell->relation == Relation::kIid) number = StrCat("\\textbf{", number, "}");

        // A star marks a significant difference from calibration on the test's own kind.
        for (const CalibrationComparison& one : data.analysis.comparisons) {
          const bool is_this = one.model == model && one.recipe == recipe &&
                               one.calibration == calibration && one.test == test;
          if (is_this && one.p_holm < 0.05) number += "*";
        }
        text += StrCat(" & ", number);
      }
      text += " \\\\\n";
    }
    text += "\\bottomrule\n\\end{tabular}\n\n";
  }
  return text;
}

}  // namespace qualm
