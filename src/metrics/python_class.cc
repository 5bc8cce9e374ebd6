// Spells character sets for PCRE2 so that they hold what Python's `re` takes them to hold. Where
// the two disagree on which characters differ only by case, the missing ones are added to the set.
#include "metrics/python_class.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Python's str.isspace, and its complement.
constexpr std::string_view kBlank =
    "\\x09-\\x0d\\x1c-\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
constexpr std::string_view kNoBlank =
    "\\x00-\\x08\\x0e-\\x1b\\x21-\\x84\\x86-\\x9f\\xa1-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
    "\\x{3001}-\\x{10ffff}";
// Letters, numbers of every kind and the underscore. The complement names the other categories;
// of the connectors (Pc) all but the underscore.
constexpr std::string_view kWord = "\\p{L}\\p{N}_";
constexpr std::string_view kNoWord =
    "\\p{C}\\p{M}\\p{Pd}\\p{Ps}\\p{Pe}\\p{Pi}\\p{Pf}\\p{Po}\\p{S}\\p{Z}"
    "\\x{203f}\\x{2040}\\x{2054}\\x{fe33}\\x{fe34}\\x{fe4d}-\\x{fe4f}\\x{ff3f}";

struct Category {
  char letter;
  std::string_view unicode, ascii;
};
constexpr Category kCategories[] = {
    {'d', "\\p{Nd}", "0-9"},
    {'D', "\\P{Nd}", "\\x00-\\x2f\\x3a-\\x{10ffff}"},
    {'s', kBlank, "\\x09-\\x0d\\x20"},
    {'S', kNoBlank, "\\x00-\\x08\\x0e-\\x1f\\x21-\\x{10ffff}"},
    {'w', kWord, "0-9A-Za-z_"},
    {'W', kNoWord, "\\x00-\\x2f\\x3a-\\x40\\x5b-\\x5e\\x60\\x7b-\\x{10ffff}"},
};

// Characters that are one letter to Python's IGNORECASE and several to PCRE2's: i with its Turkish
// siblings, and letters whose capital forms are sequences. Every other pair of Unicode 14 agrees.
constexpr std::array<std::array<uint32_t, 4>, 4> kSameLetter = {{
    {'I', 'i', 0x130, 0x131},
    {0x390, 0x1fd3, 0x390, 0x1fd3},
    {0x3b0, 0x1fe3, 0x3b0, 0x1fe3},
    {0xfb05, 0xfb06, 0xfb05, 0xfb06},
}};

}  // namespace

std::string SpelledCodePoint(uint32_t code) {
  const bool plain =
      (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z');
  if (plain) return std::string(1, static_cast<char>(code));
  std::string hex;
  do {
    hex.insert(hex.begin(), "0123456789abcdef"[code % 16]);
    code /= 16;
  } while (code > 0);
  return StrCat("\\x{", hex, "}");
}

std::string CategoryBody(char32_t letter, bool ascii) {
  for (const Category& category : kCategories) {
    if (static_cast<char32_t>(category.letter) != letter) continue;
    return std::string(ascii ? category.ascii : category.unicode);
  }
  return "";
}

void CharacterSet::AddRange(uint32_t first, uint32_t last) {
  body_ += SpelledCodePoint(first);
  if (last > first) body_ += StrCat("-", SpelledCodePoint(last));
  ranges_.push_back({first, last});
}

void CharacterSet::AddCategory(char32_t letter, bool ascii) {
  const std::string body = CategoryBody(letter, ascii);
  QUALM_CHECK(!body.empty());
  body_ += body;
}

bool CharacterSet::Holds(uint32_t code) const {
  return std::ranges::any_of(
      ranges_, [&](const Range& range) { return range.first <= code && code <= range.last; });
}

// What the set lacks where case is ignored. Under the flag `a` these are all other cases, because
// PCRE2 would ignore the case of all Unicode; else those of kSameLetter.
std::string CharacterSet::OtherCases(bool ascii) const {
  std::string added;
  if (ascii) {
    for (uint32_t small = 'a'; small <= 'z'; ++small) {
      const uint32_t large = small - 'a' + 'A';
      if (Holds(small) != Holds(large)) added += SpelledCodePoint(Holds(small) ? large : small);
    }
    return added;
  }
  for (const auto& letters : kSameLetter) {
    if (std::ranges::none_of(letters, [&](uint32_t code) { return Holds(code); })) continue;
    for (uint32_t code : letters) added += SpelledCodePoint(code);
  }
  return added;
}

std::string CharacterSet::Spelled(const PatternFlags& flags) const {
  const std::string_view open = negated_ ? "[^" : "[";
  if (!flags.ignore_case) return StrCat(open, body_, "]");
  const std::string set = StrCat(open, body_, OtherCases(flags.ascii), "]");
  return flags.ascii ? set : StrCat("(?i:", set, ")");
}

}  // namespace qualm
