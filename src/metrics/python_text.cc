// Python's str methods over code points, from the tables in case_data.cc.
#include "metrics/python_text.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "metrics/case_data.h"
#include "metrics/words.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

using unicode::CaseRun;
using unicode::CodeRange;

constexpr char32_t kCapitalSigma = 0x3A3, kSigma = 0x3C3, kFinalSigma = 0x3C2;
constexpr char32_t kDottedCapitalI = 0x130, kDotAbove = 0x307;

bool IsIn(std::span<const CodeRange> ranges, char32_t c) {
  const auto after = std::ranges::upper_bound(ranges, c, {}, &CodeRange::first);
  return after != ranges.begin() && c <= std::prev(after)->last;
}

// The character itself if no run has it.
char32_t Mapped(std::span<const CaseRun> runs, char32_t c) {
  const auto after = std::ranges::upper_bound(runs, c, {}, &CaseRun::first);
  if (after == runs.begin()) return c;
  const CaseRun& run = *std::prev(after);
  const bool holds = c <= run.last && (c - run.first) % run.step == 0;
  return holds ? static_cast<char32_t>(static_cast<int64_t>(c) + run.delta) : c;
}

// Whether the sigma at `at` ends a word: a letter with case before it, none after it, apart from
// characters that do not count.
bool IsFinalSigma(std::u32string_view text, size_t at) {
  size_t before = at;
  while (before > 0 && IsIn(unicode::kCaseIgnorable, text[before - 1])) --before;
  if (before == 0 || !IsIn(unicode::kCased, text[before - 1])) return false;

  size_t after = at + 1;
  while (after < text.size() && IsIn(unicode::kCaseIgnorable, text[after])) ++after;
  return after == text.size() || !IsIn(unicode::kCased, text[after]);
}

std::string Utf8Of(std::u32string_view text) {
  std::string out;
  for (char32_t c : text) AppendUtf8(c, out);
  return out;
}

}  // namespace

std::string PythonLower(std::string_view given) {
  const std::u32string text = CodePointsOf(given);
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == kCapitalSigma) {
      out += IsFinalSigma(text, i) ? kFinalSigma : kSigma;
    } else if (text[i] == kDottedCapitalI) {
      out += {U'i', kDotAbove};
    } else {
      out += Mapped(unicode::kLower, text[i]);
    }
  }
  return Utf8Of(out);
}

std::string PythonUpper(std::string_view given) {
  std::u32string out;
  for (char32_t c : CodePointsOf(given)) {
    const auto longer =
        std::ranges::lower_bound(unicode::kLongUpper, c, {}, &unicode::LongUpper::code);
    if (longer == unicode::kLongUpper.end() || longer->code != c) {
      out += Mapped(unicode::kUpper, c);
      continue;
    }
    for (uint32_t upper : longer->upper) {
      if (upper != 0) out += static_cast<char32_t>(upper);
    }
  }
  return Utf8Of(out);
}

std::string PythonStrip(std::string_view given) {
  const std::u32string text = CodePointsOf(given);
  size_t begin = 0, end = text.size();
  while (begin < end && IsUnicodeBlank(text[begin])) ++begin;
  while (end > begin && IsUnicodeBlank(text[end - 1])) --end;
  return Utf8Of(std::u32string_view(text).substr(begin, end - begin));
}

std::string PythonEscape(std::string_view text) {
  static constexpr std::string_view kSpecial = "()[]{}?*+-|^$\\.&~# \t\n\r\v\f";
  std::string out;
  for (char c : text) {
    if (kSpecial.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string WithoutUnicodePunctuation(std::string_view text) {
  std::u32string kept = CodePointsOf(text);
  std::erase_if(kept, [](char32_t c) { return IsIn(unicode::kPunctuation, c); });
  return Utf8Of(kept);
}

}  // namespace qualm
