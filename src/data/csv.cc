// Splits tables of text into records and fields. A record ends with a line, unless the line end is
// inside quotes.
#include "data/csv.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr std::string_view kRawTabsHint =
    "where quotes are plain characters, say `reader: tsv` in a data set's YAML (docs/data.md)";

std::string_view WithoutMark(std::string_view text) {
  constexpr std::string_view kUtf8Mark = "\xef\xbb\xbf";
  if (text.starts_with(kUtf8Mark)) text.remove_prefix(kUtf8Mark.size());
  return text;
}

class CsvParser {
 public:
  CsvParser(std::string_view text, std::string_view place, char separator)
      : text_(text), place_(place), separator_(separator), ends_{separator, '\n'} {}

  std::vector<CsvRecord> Run() {
    std::vector<CsvRecord> records;
    while (at_ < text_.size()) {
      if (TakeLineEnd()) continue;  // an empty line
      CsvRecord record;
      record.line = line_;
      do {
        record.fields.push_back(Field());
      } while (TakeSeparator());
      records.push_back(std::move(record));
    }
    return records;
  }

 private:
  bool TakeSeparator() {
    if (at_ < text_.size() && text_[at_] == separator_) return ++at_ > 0;
    if (at_ < text_.size()) TakeLineEnd();
    return false;
  }

  bool TakeLineEnd() {
    const size_t length = text_[at_] == '\n' ? 1 : text_.substr(at_, 2) == "\r\n" ? 2 : 0;
    at_ += length;
    line_ += length > 0 ? 1 : 0;
    return length > 0;
  }

  std::string Field() { return at_ < text_.size() && text_[at_] == '"' ? Quoted() : Plain(); }

  std::string Plain() {
    size_t end = std::min(text_.find_first_of(ends_, at_), text_.size());
    if (end < text_.size() && text_[end] == '\n' && end > at_ && text_[end - 1] == '\r') --end;
    std::string field(text_.substr(at_, end - at_));
    at_ = end;
    return field;
  }

  std::string Quoted() {
    const size_t first_line = line_;
    std::string field;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        field += text_[at_];
      } else if (text_.substr(at_, 2) == "\"\"") {
        field += text_[at_++];
      } else {
        ++at_;
        RequireFieldEnd();
        return field;
      }
    }
    ThrowBadInput(StrCat(place_, ":", first_line), "a closing quote", "the end of the file",
                  separator_ == '\t' ? kRawTabsHint : "");
  }

  void RequireFieldEnd() const {
    const std::string_view rest = text_.substr(at_, 2);
    if (rest.empty() || rest[0] == separator_ || rest[0] == '\n' || rest == "\r\n") return;
    ThrowBadInput(StrCat(place_, ":", line_), "a separator or a line end behind a closing quote",
                  StrCat("'", rest.substr(0, 1), "'"),
                  separator_ == '\t' ? kRawTabsHint : "a quote inside quotes is written twice");
  }

  std::string_view text_, place_;
  char separator_;
  std::string ends_;  // what ends a field without quotes
  size_t at_ = 0, line_ = 1;
};

}  // namespace

std::vector<CsvRecord> ParseCsv(std::string_view text, std::string_view place, char separator) {
  return CsvParser(WithoutMark(text), place, separator).Run();
}

char SeparatorOf(std::string_view text) {
  constexpr std::string_view kSeparators = ",;\t|";
  std::array<size_t, kSeparators.size()> counts = {};
  bool is_in_quotes = false;
  for (char c : WithoutMark(text)) {
    if (c == '"') is_in_quotes = !is_in_quotes;
    if (is_in_quotes) continue;
    if (c == '\n') break;
    const size_t which = kSeparators.find(c);
    if (which != std::string_view::npos) ++counts[which];
  }
  return kSeparators[static_cast<size_t>(std::ranges::max_element(counts) - counts.begin())];
}

std::vector<CsvRecord> ParseTsv(std::string_view text) {
  std::vector<CsvRecord> records;
  text = WithoutMark(text);
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view record = text.substr(0, end);
    if (record.ends_with('\r')) record.remove_suffix(1);
    if (!record.empty()) records.push_back({line, Split(record, '\t')});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return records;
}

}  // namespace qualm
