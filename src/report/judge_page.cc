// One chapter for what was found, one for each text with its chart and table, then tasks, pairs,
// speed, and where everything comes from.
#include "report/judge_page.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "report/charts.h"
#include "report/html.h"
#include "report/page.h"
#include "report/sections.h"

namespace qualm {
namespace {

std::string Paragraph(const std::string& en, const std::string& zh) {
  return StrCat("<p>", Both(en, zh), "</p>\n");
}

// Numbers that differ by powers of ten: four digits that count, small ones as powers.
std::string Short(double value) {
  if (!std::isfinite(value)) return "–";
  return std::abs(value) < 1e-3 && value != 0 ? Scientific(value, 2) : Significant(value, 4);
}

std::string WithError(const Estimate& estimate) {
  if (!std::isfinite(estimate.standard_error)) return Short(estimate.value);
  return StrCat(Short(estimate.value), " ± ", Scientific(estimate.standard_error, 1));
}

HtmlCell NumberCell(std::string html) { return {.html = std::move(html), .is_number = true}; }

std::string TitleOf(const JudgedRow& row) {
  const LocalText reading = ReadingText(row.reading);
  const std::string label = Escape(row.label);
  if (reading.en.empty()) return label;
  return StrCat(label, " · ", BothText(reading));
}

// Plain text for charts, which have one language for labels.
std::string PlainTitle(const JudgedRow& row) {
  const LocalText reading = ReadingText(row.reading);
  return reading.en.empty() ? row.label : StrCat(row.label, " (", reading.en, ")");
}

const JudgedText* TextOf(const JudgedRow& row, size_t text) {
  return text < row.texts.size() ? &row.texts[text] : nullptr;
}

const Comparison* ComparisonOf(const JudgedRow& row, size_t text) {
  const JudgedText* judged = TextOf(row, text);
  return judged != nullptr && judged->scores.comparison ? &*judged->scores.comparison : nullptr;
}

size_t TextsOf(const Verdict& verdict) {
  size_t texts = 0;
  for (const JudgedRow& row : verdict.rows) texts = std::max(texts, row.texts.size());
  return texts;
}

std::string NameOfText(const Verdict& verdict, size_t text) {
  for (const JudgedRow& row : verdict.rows) {
    if (const JudgedText* judged = TextOf(row, text)) return judged->scores.name;
  }
  return {};
}

// For each text the files that no other file beats, the smallest first.
std::string SummaryChapter(const Verdict& verdict) {
  std::string body;
  for (size_t t = 0; t < TextsOf(verdict); ++t) {
    std::vector<const JudgedRow*> front;
    for (const JudgedRow& row : verdict.rows) {
      if (const JudgedText* judged = TextOf(row, t); judged != nullptr && judged->is_on_front) {
        front.push_back(&row);
      }
    }
    std::ranges::sort(front, {}, &JudgedRow::file_bytes);
    std::string items;
    for (const JudgedRow* row : front) {
      items += StrCat("<li><b>", TitleOf(*row), "</b>: ", HumanBytes(row->file_bytes), ", KL ",
                      WithError(ComparisonOf(*row, t)->kl_mean), "</li>\n");
    }
    if (items.empty()) continue;
    const std::string name = Escape(NameOfText(verdict, t));
    body += StrCat(
        Paragraph(
            StrCat("On <b>", name,
                   "</b> these files are beaten by no other one in both size and mean KL to "
                   "the reference:"),
            StrCat("在 <b>", name, "</b> 上，以下文件在大小与平均 KL 上未被其他文件同时超越：")),
        "<ul>\n", items, "</ul>\n");
  }
  for (const JudgedRow& row : verdict.rows) {
    if (row.error.empty()) continue;
    body += StrCat("<p class=\"warning\"><b>", TitleOf(row), "</b>: ", Escape(row.error), "</p>\n");
  }
  if (!verdict.reference_note.empty()) {
    body += StrCat("<p>", Escape(verdict.reference_note), "</p>\n");
  }
  return body.empty() ? "" : Section("summary", {"What was found", "结论"}, body);
}

// Mean KL against bytes; both spread over powers of ten, so the logarithm of KL is drawn.
std::string FrontChart(const Verdict& verdict, size_t text) {
  std::vector<ScatterPoint> points;
  for (const JudgedRow& row : verdict.rows) {
    const Comparison* comparison = ComparisonOf(row, text);
    if (!row.is_file() || comparison == nullptr || !(comparison->kl_mean.value > 0)) continue;
    const Estimate& kl = comparison->kl_mean;
    ScatterPoint point;
    point.label = point.series = PlainTitle(row);
    point.x = static_cast<double>(row.file_bytes) / 1e6;
    point.y = std::log10(kl.value);
    const double low = kl.value - 1.96 * kl.standard_error;
    point.low = low > 0 ? std::log10(low) : std::numeric_limits<double>::quiet_NaN();
    point.high = std::log10(kl.value + 1.96 * kl.standard_error);
    point.is_on_front = TextOf(row, text)->is_on_front;
    points.push_back(point);
  }
  if (points.size() < 2) return "";
  const LocalText description = {
      StrCat("Mean KL to the reference against the bytes of ", points.size(),
             " files; the numbers are in the table below"),
      StrCat(points.size(), " 个文件的平均 KL 与字节数；数值见下表")};
  return StrCat(
      "<figure tabindex=\"0\">",
      ScatterPlot(points, {"megabytes of the weights' files", "权重文件大小（MB）"},
                  {"log10 of the mean KL, nats", "平均 KL（nats）的 log10"}, description),
      "<figcaption>",
      Both(
          "One dot for each file, with the 95 % interval of its mean KL where that is above 0; the "
          "line joins those that no other one beats.",
          "每个点是一个文件，竖线为平均 KL 的 95% 区间；折线连接不被任何其他文件超越的点。"),
      "</figcaption></figure>\n");
}

std::string TextChapter(const Verdict& verdict, size_t text, const std::string& id) {
  HtmlTable table(Both("Distance to the reference", "与参考模型的距离"));
  table.Header({Both("file", "文件"), Both("MB", "MB"), Both("bits per weight", "每权重比特"),
                Both("perplexity", "困惑度"), Both("Δ log ppl", "Δ 对数困惑度"),
                Both("mean KL", "平均 KL"), Both("median", "中位数"), Both("99.9 %", "99.9 %"),
                Both("max", "最大"), Both("top-1 flips", "首选改变"),
                Both("bits per byte", "每字节比特")});
  size_t windows = 0, targets = 0;
  for (const JudgedRow& row : verdict.rows) {
    const JudgedText* judged = TextOf(row, text);
    if (judged == nullptr) continue;
    const Comparison* comparison = ComparisonOf(row, text);
    std::vector<HtmlCell> cells = {{.html = TitleOf(row)},
                                   NumberCell(Number(static_cast<double>(row.file_bytes) / 1e6, 1)),
                                   NumberCell(Number(row.bits_per_weight, 3))};
    cells.push_back(NumberCell(judged->has_own_tokens ? "–" : WithError(judged->scores.ppl)));
    if (comparison != nullptr) {
      windows = judged->scores.windows;
      targets = judged->scores.targets;
      const Estimate flips = {1 - comparison->top1_agreement.value,
                              comparison->top1_agreement.standard_error};
      for (const Estimate* one : {&comparison->delta_log_ppl, &comparison->kl_mean,
                                  &comparison->kl_median, &comparison->kl_p999}) {
        cells.push_back(NumberCell(WithError(*one)));
      }
      cells.push_back(NumberCell(Short(comparison->kl_max.value)));
      cells.push_back(NumberCell(
          StrCat(Percent(flips.value, 2), " ± ", Number(100 * flips.standard_error, 2))));
    } else {
      for (int i = 0; i < 6; ++i) cells.push_back(NumberCell("–"));
    }
    cells.push_back(NumberCell(WithError(judged->bits_per_byte)));
    table.Row(std::move(cells), judged->is_on_front ? "class=\"best\"" : "");
  }
  if (table.empty()) return "";
  const std::string protocol =
      Escape(StrCat(verdict.protocol, " v", verdict.protocol_version, ", seqlen ", verdict.seqlen));
  return Section(
      id,
      {StrCat("Text: ", NameOfText(verdict, text)), StrCat("文本：", NameOfText(verdict, text))},
      StrCat(FrontChart(verdict, text), table.Html(),
             Paragraph(StrCat("Protocol ", protocol, "; n = ", windows, " windows, ", targets,
                              " scored tokens. KL(reference ‖ file) in nats over the whole "
                              "vocabulary, from float32 logits of both; ± standard errors over "
                              "windows. The noise floor is the reference computed in bfloat16: "
                              "distances of its size mean nothing."),
                       StrCat("协议 ", protocol, "；n = ", windows, " 个窗口，", targets,
                              " 个计分词元。KL(参考 ‖ 文件) 以 nats 计，覆盖整个词表，双方均用 "
                              "float32 logits；± 为按窗口的标准误。噪声下限是以 bfloat16 "
                              "计算的参考模型：同等大小的距离没有意义。"))));
}

std::string TaskChapter(const Verdict& verdict) {
  HtmlTable table(Both("Scores of tasks", "任务得分"));
  table.Header({Both("file", "文件"), Both("task", "任务"), Both("shots", "示例数"),
                Both("metric", "指标"), Both("value", "值"), "n", Both("baseline", "基线")});
  for (const JudgedRow& row : verdict.rows) {
    for (const JudgedTask& task : row.tasks) {
      table.Row({{.html = TitleOf(row)},
                 {.html = Escape(task.name)},
                 NumberCell(StrCat(task.key.shots)),
                 {.html = Escape(task.score.metric)},
                 NumberCell(WithError(task.score.estimate)),
                 NumberCell(StrCat(task.score.n)),
                 NumberCell(Short(task.score.baseline))});
    }
  }
  return table.empty() ? "" : Section("tasks", {"Tasks", "任务"}, table.Html());
}

std::string PairChapter(const Verdict& verdict) {
  HtmlTable table(Both("All pairs", "所有配对"));
  table.Header({Both("first", "第一"), Both("second", "第二"), Both("measure", "度量"),
                Both("on", "对象"), Both("second − first", "第二 − 第一"), "n", "p",
                Both("p, Holm", "p（Holm）"), Both("right → wrong", "对 → 错"),
                Both("wrong → right", "错 → 对")});
  std::vector<std::string> firsts, seconds, measures;
  const auto add = [](std::vector<std::string>& names, const std::string& name) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  };
  for (const JudgedPair& pair : verdict.pairs) {
    const std::string first = PlainTitle(verdict.rows[pair.first]);
    const std::string second = PlainTitle(verdict.rows[pair.second]);
    const std::string measure = StrCat(pair.measure, " · ", pair.of);
    add(firsts, first);
    add(seconds, second);
    add(measures, measure);
    const PairTest& test = pair.test;
    const bool has_items = test.right_to_wrong + test.wrong_to_right > 0;
    table.Row({{.html = TitleOf(verdict.rows[pair.first])},
               {.html = TitleOf(verdict.rows[pair.second])},
               {.html = Escape(pair.measure)},
               {.html = Escape(pair.of)},
               NumberCell(WithError(test.difference)),
               NumberCell(StrCat(test.n)),
               NumberCell(PValue(test.p)),
               NumberCell(PValue(pair.p_holm)),
               NumberCell(has_items ? StrCat(test.right_to_wrong) : "–"),
               NumberCell(has_items ? StrCat(test.wrong_to_right) : "–")},
              StrCat("data-row data-first=\"", Escape(first), "\" data-second=\"", Escape(second),
                     "\" data-measure=\"", Escape(measure), "\""));
  }
  if (table.empty()) return "";
  const std::string filters = StrCat("<form class=\"filters\" data-filters=\"pairs\">\n",
                                     FilterSelect("first", Both("first", "第一"), firsts),
                                     FilterSelect("second", Both("second", "第二"), seconds),
                                     FilterSelect("measure", Both("measure", "度量"), measures),
                                     "<output aria-live=\"polite\"></output></form>\n");
  return Section(
      "pairs", {"Which differences are real", "哪些差异是真实的"},
      StrCat(
          Paragraph(StrCat("Paired over the same windows (Student's t) or items (McNemar's exact "
                           "test of accuracies, else Student's t). Holm's adjustment is over "
                           "all ",
                           verdict.pairs.size(), " tests of this page."),
                    StrCat("在相同窗口（t 检验）或题目（准确率用 McNemar 精确检验，否则用 t "
                           "检验）上配对。Holm 校正覆盖本页全部 ",
                           verdict.pairs.size(), " 个检验。")),
          filters, table.Html("cells")));
}

std::string SpeedChapter(const Verdict& verdict) {
  HtmlTable table(Both("Measured on this machine", "在本机测得"));
  table.Header({Both("file", "文件"), Both("load, s", "载入（秒）"),
                Both("prefill, tokens/s", "预填（词元/秒）"),
                Both("decode, tokens/s", "解码（词元/秒）"), Both("peak memory", "内存峰值"), "n"});
  const auto spread = [](const Spread& one, int digits) {
    return StrCat(Number(one.median, digits), " (", Number(one.lowest, digits), " – ",
                  Number(one.highest, digits), ")");
  };
  for (const JudgedRow& row : verdict.rows) {
    if (!row.speed) continue;
    const SpeedPoint& point = row.speed->points.front();
    table.Row({{.html = TitleOf(row)},
               NumberCell(spread(row.speed->load_seconds, 3)),
               NumberCell(spread(point.prefill, 1)),
               NumberCell(spread(point.decode, 1)),
               NumberCell(HumanBytes(row.speed->peak_memory_bytes)),
               NumberCell(StrCat(point.decode.n))});
  }
  if (table.empty()) return "";
  return Section(
      "speed", {"Speed", "速度"},
      StrCat(table.Html(),
             Paragraph(
                 StrCat(Escape(verdict.machine), ". Medians (lowest – highest) of n repetitions."),
                 StrCat(Escape(verdict.machine), "。n 次重复的中位数（最低 – 最高）。"))));
}

std::string ProvenanceChapter(const Verdict& verdict) {
  HtmlTable table(Both("Files", "文件"));
  table.Header({Both("file", "文件"), Both("path", "路径"), Both("weights", "权重"),
                Both("parameters", "参数量"), Both("hash", "散列"), Both("notes", "备注")});
  for (const JudgedRow& row : verdict.rows) {
    std::string notes;
    for (const std::string& note : row.notes) notes += StrCat(Escape(note), "<br>");
    table.Row({{.html = TitleOf(row)},
               {.html = Escape(row.path)},
               {.html = Escape(row.weights)},
               NumberCell(StrCat(row.parameters)),
               {.html = StrCat("<code>", Escape(row.hash), "</code>")},
               {.html = std::move(notes)}});
  }
  return Section("provenance", {"Provenance", "来源"}, table.Html());
}

}  // namespace

LocalText ReadingText(JudgedReading reading) {
  switch (reading) {
    case JudgedReading::kReference:
      return {"reference", "参考"};
    case JudgedReading::kNoiseFloor:
      return {"noise floor", "噪声下限"};
    case JudgedReading::kWeightsOnly:
      return {"weights only", "仅权重"};
    case JudgedReading::kAsConfigured:
      return {"as configured", "按配置"};
    case JudgedReading::kAll:
      return {};
  }
  return {};
}

std::string JudgePage(const Verdict& verdict) {
  std::vector<PageChapter> chapters = {
      {"summary", {"What was found", "结论"}, SummaryChapter(verdict)}};
  for (size_t t = 0; t < TextsOf(verdict); ++t) {
    const std::string id = StrCat("text-", t + 1);
    chapters.push_back(
        {id, {NameOfText(verdict, t), NameOfText(verdict, t)}, TextChapter(verdict, t, id)});
  }
  chapters.push_back({"tasks", {"Tasks", "任务"}, TaskChapter(verdict)});
  chapters.push_back(
      {"pairs", {"Which differences are real", "哪些差异是真实的"}, PairChapter(verdict)});
  chapters.push_back({"speed", {"Speed", "速度"}, SpeedChapter(verdict)});
  chapters.push_back({"provenance", {"Provenance", "来源"}, ProvenanceChapter(verdict)});

  const auto files = std::ranges::count_if(verdict.rows, &JudgedRow::is_file);
  return PageOf({"Files of one model, judged", "同一模型的多个文件评判"},
                Both(StrCat(files, " readings of files"), StrCat(files, " 个文件读法")), chapters);
}

}  // namespace qualm
