// Cutting, replacing and padding texts, as str.split, splitlines, replace and center do.
#include <algorithm>

#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

// The first (or last) run of white space in `text`; npos: there is none.
struct Run {
  size_t begin = std::string_view::npos, end = 0;
};

Run FirstSpace(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text.substr(at));
    if (Is(CodePoint(text.substr(at, length)), kSpace)) {
      const size_t rest = Strip(text.substr(at), nullptr, true, false).size();
      return {at, text.size() - rest};
    }
    at += length;
  }
  return {};
}

Run LastSpace(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) --begin;
    if (Is(CodePoint(text.substr(begin, end - begin)), kSpace)) {
      return {Strip(text.substr(0, end), nullptr, false, true).size(), end};
    }
    end = begin;
  }
  return {};
}

std::vector<std::string> SplitAtSpace(std::string_view text, int64_t most, bool from_right) {
  std::vector<std::string> parts;
  text = Strip(text, nullptr, /*left=*/!from_right, /*right=*/from_right);
  while (!text.empty()) {
    const bool is_last = most >= 0 && static_cast<int64_t>(parts.size()) == most;
    const Run run = is_last ? Run() : from_right ? LastSpace(text) : FirstSpace(text);
    if (run.begin == std::string_view::npos) {
      // A rest that was not looked at keeps the blanks at its far end.
      parts.emplace_back(is_last ? text : Strip(text, nullptr, from_right, !from_right));
      break;
    }
    parts.emplace_back(from_right ? text.substr(run.end) : text.substr(0, run.begin));
    text = from_right ? text.substr(0, run.begin) : text.substr(run.end);
  }
  if (from_right) std::ranges::reverse(parts);
  return parts;
}

bool IsLineEnd(uint32_t code) {
  return (code >= '\n' && code <= '\r') || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

}  // namespace

std::vector<std::string> SplitText(std::string_view text, const std::string* separator,
                                   int64_t most, bool from_right) {
  if (separator == nullptr) return SplitAtSpace(text, most, from_right);
  std::vector<std::string> parts;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == std::string_view::npos) break;
    const size_t after = at + separator->size();
    parts.emplace_back(from_right ? text.substr(after) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(after);
  }
  parts.emplace_back(text);
  if (from_right) std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string> SplitLines(std::string_view text, bool keeps_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + CharacterLength(text.substr(at));
    if (!IsLineEnd(CodePoint(text.substr(at, end - at)))) {
      at = end;
      continue;
    }
    if (text[at] == '\r' && end < text.size() && text[end] == '\n') ++end;
    lines.emplace_back(text.substr(begin, (keeps_ends ? end : at) - begin));
    begin = at = end;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string ReplaceText(Runtime& runtime, std::string_view text, std::string_view old,
                        std::string_view replacement, int64_t most) {
  std::string out;
  int64_t count = 0;
  while (most < 0 || count < most) {
    // An empty text is found before each character and at the end.
    const bool is_between = old.empty() && count > 0;
    if (is_between) {
      if (text.empty()) break;
      const size_t length = CharacterLength(text);
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
    const size_t at = text.find(old);
    if (at == std::string_view::npos) break;
    runtime.Charge(at + replacement.size());
    out += text.substr(0, at);
    out += replacement;
    text.remove_prefix(at + old.size());
    ++count;
  }
  out += text;
  return out;
}

std::string CenterText(Runtime& runtime, std::string_view text, int64_t width,
                       std::string_view fill) {
  const auto size = static_cast<int64_t>(CountCharacters(text));
  const int64_t missing = std::max<int64_t>(width, size) - size;
  if (missing > 0) runtime.Charge(static_cast<size_t>(missing) * fill.size());
  const int64_t left = missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

}  // namespace qualm::jinja
