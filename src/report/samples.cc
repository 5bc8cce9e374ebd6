// The sample browser: prompts with the float model's answer and the answers of quantized models.
// The data is one JSON text inside the page, which the page's script filters. Its size is bounded,
// so answers that changed from right to wrong or back come first.
#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "report/html.h"
#include "report/sections.h"
#include "study/work_folder.h"

namespace qualm {
namespace {

// The bound on texts and numbers; answers beyond it are left out.
constexpr size_t kMostBytes = 3'000'000;

// How an answer differs from the float model's.
enum Flag : uint8_t { kSame, kRightToWrong, kWrongToRight, kChanged };

// One quantized model's answer to one prompt.
struct Answer {
  size_t prompt = 0, condition = 0;
  std::string text;
  Flag flag = kSame;
};

// Collects prompts and answers from the stages' records. Json_ is called once: it reads all prompts
// (AddPrompts) and answers (AddAnswers), sorts them by how much they tell, and packs as many as fit
// (Pack). all() and shown() are valid afterwards.
class SampleCollector {
 public:
  explicit SampleCollector(const ReportData& data) : data_(data) {}

  // All answers as JSON, the telling ones first, as many as the bound allows.
  std::string Json_() {
    for (const Cell& cell : data_.table.cells) {
      if (cell.recipe == "float") AddPrompts(cell);
    }
    for (const Cell& cell : data_.table.cells) {
      if (cell.recipe != "float") AddAnswers(cell);
    }
    // Flips tell most, unchanged answers least.
    constexpr std::array<int, 4> kOrder = {3, 0, 1, 2};  // by flag: flips, changes, the same
    std::ranges::stable_sort(answers_, [&](const Answer& a, const Answer& b) {
      return std::pair(kOrder[a.flag], a.prompt) < std::pair(kOrder[b.flag], b.prompt);
    });
    return Pack();
  }

  size_t all() const { return answers_.size(); }
  size_t shown() const { return shown_; }

 private:
  // One item of a test, with the float model's answer.
  struct Prompt {
    std::string test, row, text, right, float_answer;
    bool is_float_right = false;
  };

  // Nothing if the stage is not done or evaluates a text.
  std::optional<RowsOutcome> RowsOf(const std::string& key) const {
    std::optional<StageRecord> record = data_.work.ReadRecord(key);
    if (!record) return std::nullopt;
    auto* rows = std::get_if<RowsOutcome>(&record->outcome);
    return rows == nullptr ? std::nullopt : std::optional(std::move(*rows));
  }

  // The prompts of one test, from the float model's record.
  void AddPrompts(const Cell& cell) {
    const std::optional<RowsOutcome> rows = RowsOf(cell.evaluate_keys[0]);
    if (!rows) return;
    for (const SampleOutcome& sample : rows->samples) {
      if (sample.item >= rows->items.right.size()) continue;
      // Answers find their prompt by model, test and item.
      index_[StrCat(cell.model, "\n", cell.test, "\n", sample.item)] = prompts_.size();
      prompts_.push_back({.test = cell.test,
                          .row = sample.row.value_or(""),
                          .text = sample.prompt.value_or(""),
                          .right = sample.right.value_or(""),
                          .float_answer = sample.answer,
                          .is_float_right = rows->items.right[sample.item] != 0});
    }
  }

  // The answers of one condition; only the first seed's are kept.
  void AddAnswers(const Cell& cell) {
    const std::optional<RowsOutcome> rows = RowsOf(cell.evaluate_keys[0]);
    if (!rows) return;
    conditions_.push_back(StrCat(ConditionText(data_, cell.model, cell.recipe),
                                 cell.calibration == "-" ? "" : " · ",
                                 cell.calibration == "-" ? "" : cell.calibration));

    // Answers whose prompt is not known are skipped: the float model's stage may have failed.
    for (const SampleOutcome& sample : rows->samples) {
      const auto found = index_.find(StrCat(cell.model, "\n", cell.test, "\n", sample.item));
      if (found == index_.end() || sample.item >= rows->items.right.size()) continue;

      const Prompt& prompt = prompts_[found->second];
      const bool is_right = rows->items.right[sample.item] != 0;
      // A flip says more than a changed text, so it decides the flag.
      Answer answer{found->second, conditions_.size() - 1, sample.answer, kSame};
      if (prompt.is_float_right && !is_right) answer.flag = kRightToWrong;
      if (!prompt.is_float_right && is_right) answer.flag = kWrongToRight;
      if (answer.flag == kSame && answer.text != prompt.float_answer) answer.flag = kChanged;
      answers_.push_back(std::move(answer));
    }
  }

  // Texts are stored once and referred to by their index, because prompts repeat in every
  // condition.
  size_t TextIndex(const std::string& text) {
    const auto [found, is_new] = text_index_.emplace(text, texts_.size());
    if (is_new) {
      texts_.push_back(text);
      bytes_ += text.size() + 8;
    }
    return found->second;
  }

  // Packs answers, with the prompts that they need, until the bound is reached.
  std::string Pack() {
    Json prompts = Json::array(), answers = Json::array();
    std::map<size_t, size_t> numbers;
    for (const Answer& answer : answers_) {
      if (bytes_ > kMostBytes) break;

      // A prompt is numbered when its first answer is packed.
      const auto [found, is_new] = numbers.emplace(answer.prompt, prompts.size());
      if (is_new) {
        const Prompt& prompt = prompts_[answer.prompt];
        bytes_ += 30;
        prompts.push_back(
            Json::array({TextIndex(prompt.test), TextIndex(prompt.row), TextIndex(prompt.text),
                         TextIndex(prompt.right), TextIndex(prompt.float_answer),
                         prompt.is_float_right ? 1 : 0}));
      }

      // The answer itself, and its text if it is new.
      bytes_ += 24;
      answers.push_back(Json::array({found->second, answer.condition, TextIndex(answer.text),
                                     static_cast<int>(answer.flag)}));
      ++shown_;
    }

    // Answers refer to conditions, texts and prompts by their indices.
    const Json json = {{"conditions", conditions_},
                       {"texts", texts_},
                       {"prompts", std::move(prompts)},
                       {"answers", std::move(answers)}};
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  const ReportData& data_;
  std::vector<Prompt> prompts_;
  std::map<std::string, size_t> index_, text_index_;
  std::vector<std::string> conditions_, texts_;
  std::vector<Answer> answers_;
  size_t bytes_ = 0, shown_ = 0;
};

// Makes JSON safe inside <script>, which only "</" and "<!--" can end: every "<" is escaped.
std::string ScriptText(const std::string& json) {
  std::string text;
  text.reserve(json.size());
  for (char c : json) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

std::string SampleSection(const ReportData& data) {
  SampleCollector collector(data);
  const std::string json = collector.Json_();
  if (collector.all() == 0) return "";

  // The options are filled in by the page's script.
  const auto select = [](std::string_view id, const LocalText& label) {
    return StrCat("<label>", BothText(label), " <select id=\"", id, "\"></select></label>\n");
  };
  // How much is shown, the filters, the buttons, a note for readers without scripts, and the data.
  return Section(
      "samples", {"Samples", "样本"},
      StrCat(
          "<p>",
          Both(StrCat(collector.shown(), " of ", collector.all(),
                      " answers (first seed; flips first, then changed answers, then the rest, as "
                      "far as the page's size allows)."),
               StrCat("共 ", collector.all(), " 个回答，收录 ", collector.shown(),
                      " 个（首个种子；先列对错翻转，再列变化的回答，其余在页面大小允许范围内）。")),
          "</p>\n<form class=\"filters\" id=\"sample-filters\">\n",
          select("sample-test", {"test", "测试"}),
          select("sample-condition", {"model", "量化模型"}),
          select("sample-flag", {"change", "变化"}), "<label>", Both("text", "文本"),
          " <input id=\"sample-text\" type=\"search\"></label>\n"
          "<button type=\"button\" id=\"sample-back\">‹ ",
          Both("back", "上一页"),
          "</button>\n"
          "<button type=\"button\" id=\"sample-next\">",
          Both("next", "下一页"),
          " ›</button>\n"
          "<output id=\"sample-count\" aria-live=\"polite\"></output></form>\n"
          "<noscript><p>",
          Both("The browser of samples needs JavaScript.", "样本浏览需要 JavaScript。"),
          "</p></noscript>\n<div id=\"sample-list\"></div>\n"
          "<script type=\"application/json\" id=\"sample-data\">",
          ScriptText(json), "</script>\n"));
}

}  // namespace qualm
