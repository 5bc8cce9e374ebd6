// The section that says where every number comes from: calibration sets, tests, model hashes,
// processors, failed stages, the study's own file, and the statistics in words.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "report/html.h"
#include "report/sections.h"
#include "study/work_folder.h"

namespace qualm {
namespace {

// Every calibration set with its sampling and the hash of its tokens.
std::string Calibrations(const ReportData& data) {
  HtmlTable table(Both("Calibration sets", "校准集"));
  table.Header({Both("set", "名称"), Both("model", "模型"), Both("seed", "种子"),
                Both("text", "文本"), Both("sampler", "抽样"),
                Both("sequences × length", "序列 × 长度"), Both("documents", "文档"),
                Both("hash of tokens", "词元哈希")});

  // Cells share calibration stages; each is listed once.
  std::vector<std::string> seen;
  for (const CellRun& run : data.plan.cells) {
    if (run.calibrate.empty() || std::ranges::find(seen, run.calibrate) != seen.end()) continue;
    seen.push_back(run.calibrate);

    // A stage that is not done has nothing to show.
    const std::optional<StageRecord> record = data.work.ReadRecord(run.calibrate);
    const auto* set = record ? std::get_if<CalibrateOutcome>(&record->outcome) : nullptr;
    if (set == nullptr) continue;
    table.Row({{Escape(run.calibration)},
               {Escape(run.model)},
               {StrCat(run.seed), true},
               {Escape(set->corpus)},
               {Escape(set->sampler)},
               {StrCat(set->sequences, " × ", set->length), true},
               {StrCat(set->documents), true},
               {StrCat("<code>", Escape(set->hash), "</code>")}});
  }
  return table.empty() ? "" : table.Html();
}

// Everything that two perplexities must have in common to be compared.
std::string ProtocolOf(const TextOutcome& text) {
  return StrCat(text.protocol, " v", text.protocol_version, ", seqlen ", text.seqlen, ", ",
                text.tokens, " tokens");
}

// The same for tasks: version, metric, shots and the rows that were asked.
std::string ProtocolOf(const RowsOutcome& rows) {
  return StrCat(rows.task, " v", rows.task_version, ", ", rows.metric, ", ", rows.shots, "-shot, ",
                rows.rows, " of ", rows.rows_in_split, " rows");
}

// What each test consists of, and the tests that were left out.
std::string Tests(const ReportData& data) {
  HtmlTable table(Both("Tests", "测试"));
  table.Header({Both("test", "测试"), Both("protocol", "协议"), Both("items", "题目"),
                Both("clusters", "簇"), Both("about", "关于"), Both("note", "说明")});

  // The float model's evaluation knows the size of the test.
  for (const TestSpec& test : data.plan.spec.tests) {
    const Cell* cell = data.table.Find(
        data.plan.spec.models.empty() ? "" : data.plan.spec.models[0], "float", "-", test.name);
    if (cell == nullptr) continue;
    const std::optional<StageRecord> record = data.work.ReadRecord(cell->evaluate_keys[0]);
    if (!record) continue;
    const auto* text = std::get_if<TextOutcome>(&record->outcome);
    const auto* rows = std::get_if<RowsOutcome>(&record->outcome);
    if (text == nullptr && rows == nullptr) continue;

    const About& about = test.about;
    table.Row({{Escape(test.name)},
               {Escape(text != nullptr ? ProtocolOf(*text) : ProtocolOf(*rows))},
               {StrCat(cell->items), true},
               {StrCat(cell->excess.clusters()), true},
               {Escape(StrCat(about.dataset, " / ", about.subject, " / ", about.task, " / ",
                              about.language))},
               {Escape(rows != nullptr ? rows->note : "")}});
  }

  std::string html = table.empty() ? "" : table.Html();

  // A test that is left out must be visible, or the mean would mislead.
  if (!data.plan.skipped.empty()) {
    html +=
        StrCat("<p>", Both("Left out because their data was not available:", "因缺少数据而略过："),
               "</p><ul>");
    for (const std::string& one : data.plan.skipped) html += StrCat("<li>", Escape(one), "</li>");
    html += "</ul>\n";
  }
  return html;
}

// Stages that failed, with their errors.
std::string Failures(const ReportData& data) {
  if (data.table.failures.empty()) return "";
  std::string html = StrCat("<p>", Both("Failed stages:", "失败的阶段："), "</p><ul>");
  for (const std::string& one : data.table.failures) html += StrCat("<li>", Escape(one), "</li>");
  return html + "</ul>\n";
}

}  // namespace

std::string ProvenanceSection(const ReportData& data) {
  std::string models;

  // The hash of every model, as its float evaluation recorded it.
  for (size_t i = 0; i < data.plan.spec.models.size(); ++i) {
    const Cell* cell = nullptr;
    for (const Cell& one : data.table.cells) {
      if (one.model == data.plan.spec.models[i] && cell == nullptr) cell = &one;
    }
    if (cell == nullptr) continue;
    const std::optional<StageRecord> record = data.work.ReadRecord(cell->evaluate_keys[0], false);
    if (!record) continue;
    const auto* inputs = std::get_if<EvaluateInputs>(&record->inputs);
    if (inputs == nullptr) continue;

    models += StrCat("<li>", Escape(data.plan.spec.models[i]), ": <code>",
                     Escape(inputs->model_hash), "</code></li>");
  }

  // Several processors may have worked on one study.
  std::string processors;
  for (const std::string& one : data.table.processors) {
    processors += StrCat(processors.empty() ? "" : ", ", Escape(one));
  }

  // Versions and machines first, then failures, tests, sets, the study's text, and the statistics.
  std::string body = StrCat(
      "<ul>", models, "<li>qualm ", Escape(data.plan.version), ", ",
      Both("numeric version", "数值版本"), " ", kNumericVersion, ", ",
      Both("instruction set", "指令集"), " ", Escape(data.plan.instruction_set), "</li><li>",
      processors, "</li><li>",
      Both(StrCat(data.plan.stages.size(), " stages, ", HumanSeconds(data.table.seconds),
                  " of work in total"),
           StrCat(data.plan.stages.size(), " 个阶段，共计 ", HumanSeconds(data.table.seconds))),
      "</li></ul>\n", Failures(data), Tests(data), Calibrations(data), "<details><summary>",
      Both("The study's file", "研究文件"), "</summary><pre tabindex=\"0\">",
      Escape(data.plan.spec.text), "</pre></details>\n<p>",
      Both("Errors: hierarchical bootstrap (1000 replicates; S−1 of S seeds, C−1 of C clusters, "
           "crossed). Intervals and p: "
           "Student's t with Satterthwaite's degrees of freedom from the two-way components. "
           "Correction: Holm, separately over "
           "the cells, the comparisons with IID, the gaps and the families. Generalization gap: "
           "excess loss (quantized − float) "
           "when calibrated on other data minus that when calibrated on the test's own kind, on "
           "the same tests.",
           "误差：分层自助法（1000 次；S 个种子抽 S−1、C 个簇抽 C−1，交叉）。区间与 p：t "
           "分布，自由度由双向方差分量按 Satterthwaite 计算。"
           "校正：Holm，分别对单元格、与同分布的比较、差距和任务族进行。泛化差距：在相同测试上，用"
           "其他数据校准的超额损失（量化 − 浮点）减去同分布校准的超额损失。"),
      "</p>\n");
  return Section("provenance", {"Provenance", "来源"}, body);
}

}  // namespace qualm
