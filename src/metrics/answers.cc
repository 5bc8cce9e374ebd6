// Numbers are brought to one form by small steps on the text; LaTeX is rewritten in the order of
// the steps of the MATH harness, since later steps read what earlier ones made.
#include "metrics/answers.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "metrics/words.h"

namespace qualm {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsInteger(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && std::ranges::all_of(text, IsDigit);
}

// "\frac12", "\frac1{72}", "\frac{1}2" with braces around both.
std::string WithFractionBraces(std::string text) {
  static constexpr std::string_view kFraction = "\\frac";
  for (size_t at = 0; (at = text.find(kFraction, at)) != std::string::npos;) {
    at += kFraction.size();
    for (int part = 0; part < 2 && at < text.size(); ++part) {
      if (text[at] == '{') {
        int depth = 0;
        do {
          depth += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
          ++at;
        } while (at < text.size() && depth > 0);
      } else {
        text.insert(at, 1, '{');
        text.insert(at + 2, 1, '}');
        at += 3;
      }
    }
  }
  return text;
}

// "\sqrt3" with braces.
std::string WithRootBraces(std::string text) {
  static constexpr std::string_view kRoot = "\\sqrt";
  for (size_t at = 0; (at = text.find(kRoot, at)) != std::string::npos;) {
    at += kRoot.size();
    if (at < text.size() && text[at] != '{' && text[at] != '[') {
      text.insert(at, 1, '{');
      text.insert(at + 2, 1, '}');
    }
  }
  return text;
}

}  // namespace

std::string NormalizeNumber(std::string_view text) {
  const std::string trimmed(Trim(text));
  std::string digits = trimmed;
  std::erase_if(digits, [](char c) { return c == ',' || c == '$' || c == '%'; });
  while (digits.ends_with('.')) digits.pop_back();
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value)) {
    return trimmed;
  }
  return StrCat(value == 0 ? 0.0 : value);
}

std::string NormalizeMath(std::string_view given) {
  std::string text(Trim(given));
  const std::pair<const char*, const char*> replaced[] = {
      {"\n", ""},     {"\\!", ""},     {"\\\\", "\\"},    {"tfrac", "frac"}, {"dfrac", "frac"},
      {"\\left", ""}, {"\\right", ""}, {"^{\\circ}", ""}, {"^\\circ", ""},   {"\\$", ""},
      {"\\%", ""},    {"%", ""},       {" .", " 0."},     {"{.", "{0."}};
  for (const auto& [from, to] : replaced) text = ReplaceAll(std::move(text), from, to);
  text = text.substr(0, text.find("\\text{ "));  // units
  if (text.starts_with('.')) text.insert(size_t{0}, 1, '0');
  const size_t equals = text.find('=');
  if (equals != std::string::npos && equals <= 2 &&
      text.find('=', equals + 1) == std::string::npos) {
    text = text.substr(equals + 1);  // "x = 5"
  }
  text = WithRootBraces(std::move(text));
  std::erase(text, ' ');
  text = WithFractionBraces(std::move(text));
  if (text == "0.5") text = "\\frac{1}{2}";
  const size_t slash = text.find('/');
  if (slash != std::string::npos && IsInteger(text.substr(0, slash)) &&
      IsInteger(text.substr(slash + 1))) {
    text = StrCat("\\frac{", text.substr(0, slash), "}{", text.substr(slash + 1), "}");
  }
  return text;
}

std::string LastBoxed(std::string_view text) {
  size_t at = text.rfind("\\boxed");
  if (at == std::string_view::npos) at = text.rfind("\\fbox");
  if (at == std::string_view::npos) return "";
  const size_t open = text.find('{', at);
  if (open == std::string_view::npos) return "";
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth == 0) return std::string(text.substr(open + 1, i - open - 1));
  }
  return "";
}

std::string LastNumber(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && !IsDigit(text[end - 1])) --end;
  if (end == 0) return "";
  size_t begin = end;
  while (begin > 0 &&
         (IsDigit(text[begin - 1]) || text[begin - 1] == '.' || text[begin - 1] == ',')) {
    --begin;
  }
  while (!IsDigit(text[begin]) && text[begin] != '.') ++begin;
  // A minus sign belongs to it unless something stands before: "3-2" ends in 2.
  if (begin > 0 && text[begin - 1] == '-' && (begin == 1 || !IsDigit(text[begin - 2]))) --begin;
  return NormalizeNumber(text.substr(begin, end - begin));
}

}  // namespace qualm
