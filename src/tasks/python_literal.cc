// A parser of Python's literals by recursive descent, with a bound on its depth.
#include "tasks/python_literal.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <string>

#include "tokenize/utf8.h"

namespace qualm {
namespace {

constexpr int kMostDepth = 64;

// Reads one literal. Every function returns false where the text is not what it reads; what was
// made so far is then worth nothing.
class LiteralParser {
 public:
  explicit LiteralParser(std::string_view text) : text_(text) {}

  bool Run(Json& value) {
    SkipBlanks();
    if (!Value(value, 0)) return false;
    SkipBlanks();
    return at_ == text_.size();
  }

 private:
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  // Line ends count as blanks: inside brackets they are, and elsewhere literals have none.
  void SkipBlanks() {
    while (at_ < text_.size() &&
           std::string_view(" \t\n\r\f").find(text_[at_]) != std::string::npos) {
      ++at_;
    }
  }

  bool Take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  bool Value(Json& value, int depth) {
    if (depth > kMostDepth) return false;
    const char c = Peek();
    if (c == '[') return List(']', value, depth);
    if (c == '(') return List(')', value, depth);
    if (c == '{') return Dictionary(value, depth);
    if (c == '\'' || c == '"' || ((c == 'r' || c == 'u' || c == 'R' || c == 'U'))) {
      return Texts(value);
    }
    if (Take("True")) return value = true, true;
    if (Take("False")) return value = false, true;
    if (Take("None")) return value = nullptr, true;
    return Number(value);
  }

  // Up to `close`. One value in round brackets without a comma is that value.
  bool List(char close, Json& value, int depth) {
    ++at_;
    value = Json::array();
    bool has_comma = false;
    for (SkipBlanks(); Peek() != close; SkipBlanks()) {
      if (!value.empty() && !has_comma) return false;
      Json element;
      if (!Value(element, depth + 1)) return false;
      value.push_back(std::move(element));
      SkipBlanks();
      has_comma = Take(",");
    }
    ++at_;
    if (close == ')' && value.size() == 1 && !has_comma) value = Json(value[0]);
    return true;
  }

  bool Dictionary(Json& value, int depth) {
    ++at_;
    value = Json::object();
    bool has_comma = true;
    for (SkipBlanks(); Peek() != '}'; SkipBlanks()) {
      if (!has_comma) return false;
      Json key, element;
      if (!Value(key, depth + 1) || !key.is_string()) return false;
      SkipBlanks();
      if (!Take(":")) return false;
      SkipBlanks();
      if (!Value(element, depth + 1)) return false;
      value[key.get<std::string>()] = std::move(element);
      SkipBlanks();
      has_comma = Take(",");
    }
    ++at_;
    return true;
  }

  // Texts that follow one another are one text.
  bool Texts(Json& value) {
    std::string all;
    do {
      if (!Text(all)) return false;
      SkipBlanks();
    } while (Peek() == '\'' || Peek() == '"');
    value = std::move(all);
    return true;
  }

  bool Text(std::string& out) {
    const bool is_raw = Peek() == 'r' || Peek() == 'R';
    if (Peek() != '\'' && Peek() != '"') ++at_;
    const char quote = Peek();
    if (quote != '\'' && quote != '"') return false;
    const std::string three(3, quote);
    const bool is_long = Take(three);
    if (!is_long) ++at_;

    while (at_ < text_.size()) {
      if (is_long ? text_.substr(at_).starts_with(three) : Peek() == quote) {
        at_ += is_long ? 3 : 1;
        return true;
      }
      const char c = text_[at_++];
      if (c == '\n' && !is_long) return false;
      if (c != '\\') {
        out += c;
      } else if (is_raw) {
        out += c;
        if (at_ < text_.size()) out += text_[at_++];
      } else if (!Escape(out)) {
        return false;
      }
    }
    return false;
  }

  // What follows a backslash. Python keeps the backslash of an escape that it does not know.
  bool Escape(std::string& out) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    constexpr std::string_view kNames = "abfnrtv\\'\"";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t found = kNames.find(c); found != std::string_view::npos) {
      out += kMeanings[found];
      return true;
    }
    if (c == '\n') return true;
    if (c == 'x') return CodePointOf(2, 16, out);
    if (c == 'u') return CodePointOf(4, 16, out);
    if (c == 'U') return CodePointOf(8, 16, out);
    if (c >= '0' && c <= '7') {
      --at_;
      size_t digits = 1;
      while (digits < 3 && at_ + digits < text_.size() && text_[at_ + digits] >= '0' &&
             text_[at_ + digits] <= '7') {
        ++digits;
      }
      return CodePointOf(digits, 8, out);
    }
    out += '\\';
    out += c;
    return true;
  }

  bool CodePointOf(size_t digits, int base, std::string& out) {
    if (at_ + digits > text_.size()) return false;
    uint32_t code = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, begin + digits, code, base);
    const bool is_surrogate = code >= 0xd800 && code < 0xe000;
    if (error != std::errc() || end != begin + digits || code > 0x10ffff || is_surrogate) {
      return false;
    }
    at_ += digits;
    AppendUtf8(code, out);
    return true;
  }

  // Decimal numbers. A whole number has no zeros in front.
  bool Number(Json& value) {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           std::string_view("+-.0123456789eE").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
    std::string_view word = text_.substr(begin, at_ - begin);
    if (word.starts_with('+')) word.remove_prefix(1);
    const std::string_view digits = word.substr(word.starts_with('-') ? 1 : 0);
    if (digits.empty() || digits[0] == '-' || digits[0] == '+') return false;

    const char* end = word.data() + word.size();
    if (digits.find_first_not_of("0123456789") == std::string_view::npos) {
      if (digits[0] == '0' && digits.find_first_not_of('0') != std::string_view::npos) return false;
      int64_t whole = 0;
      const auto result = std::from_chars(word.data(), end, whole);
      value = whole;
      return result.ec == std::errc() && result.ptr == end;
    }
    double real = 0;
    const auto result = std::from_chars(word.data(), end, real);
    value = real;
    return result.ec == std::errc() && result.ptr == end;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::optional<Json> ParsePythonLiteral(std::string_view text) {
  Json value;
  if (!LiteralParser(text).Run(value)) return std::nullopt;
  return value;
}

}  // namespace qualm
