// The characters, escapes and sets of a regular expression of Python, and the messages about it.
#include "metrics/pattern_reader.h"

#include "base/error.h"
#include "base/strings.h"
#include "metrics/words.h"

namespace qualm {
namespace {

// The value of a hexadecimal digit; -1: it is none.
int HexValue(char32_t c) {
  if (IsDigit(c)) return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

}  // namespace

PatternReader::PatternReader(std::string_view pattern, std::string_view place)
    : pattern_(pattern), place_(place), points_(CodePointsOf(pattern)) {}

void PatternReader::RefuseAt(size_t at, std::string_view expected) const {
  ThrowBadInput(place_, StrCat("a regular expression of Python with ", expected),
                StrCat("'", pattern_, "', position ", at));
}

void PatternReader::RefuseUnequal(std::string_view what) const {
  ThrowBadInput(place_, "a regular expression that means here what it means to Python",
                StrCat(what, " in '", pattern_, "', position ", at_));
}

bool PatternReader::Match(char32_t c) {
  if (!NextIs(c)) return false;
  ++at_;
  return true;
}

char32_t PatternReader::Get(std::string_view expected) {
  if (AtEnd()) Refuse(expected);
  return points_[at_++];
}

std::u32string PatternReader::Until(char32_t end) {
  const size_t close = points_.find(end, at_);
  if (close == std::u32string::npos) Refuse("an end of every group's name");
  std::u32string text = points_.substr(at_, close - at_);
  at_ = close + 1;
  return text;
}

std::optional<char32_t> PatternReader::ControlEscape(char32_t c) {
  static constexpr std::u32string_view kNames = U"afnrtv\\", kValues = U"\a\f\n\r\t\v\\";
  const size_t at = kNames.find(c);
  if (at == std::u32string_view::npos) return std::nullopt;
  return kValues[at];
}

char32_t PatternReader::Hex(int digits) {
  char32_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const int digit = HexValue(Peek());
    if (AtEnd() || digit < 0) Refuse(StrCat(digits, " hexadecimal digits in an escape"));
    value = value * 16 + static_cast<char32_t>(digit);
    ++at_;
  }
  if (value > 0x10FFFF) Refuse("code points up to 10ffff");
  return value;
}

std::optional<char32_t> PatternReader::CodePointEscape(char32_t c) {
  if (c == 'x') return Hex(2);
  if (c == 'u') return Hex(4);
  if (c == 'U') return Hex(8);
  if (c == 'N') RefuseUnequal("a character by its name (\\N{...})");
  return std::nullopt;
}

char32_t PatternReader::Octal(char32_t value) {
  for (int i = 0; i < 2 && IsOctal(Peek()); ++i) value = value * 8 + (points_[at_++] - '0');
  if (value > 0377) Refuse("octal escapes up to 377");
  return value;
}

PatternReader::Member PatternReader::SetMember(char32_t c) {
  if (c != '\\') return {c};
  const char32_t escape = Get("something after a backslash");
  if (!CategoryBody(escape, false).empty()) return {escape, true};
  if (escape == 'b') return {'\b'};
  if (const auto control = ControlEscape(escape)) return {*control};
  if (const auto code = CodePointEscape(escape)) return {*code};
  if (IsOctal(escape)) return {Octal(escape - '0')};
  if (IsLetter(escape) || IsDigit(escape)) {
    Refuse(StrCat("an escape that it knows, not \\", static_cast<char>(escape), " in a set"));
  }
  return {escape};
}

void PatternReader::AddMember(const Member& member, const PatternFlags& flags,
                              CharacterSet& set) const {
  if (member.is_category) {
    set.AddCategory(member.code, flags.ascii);
  } else {
    if (IsSurrogate(member.code)) RefuseUnequal("a surrogate");
    set.AddRange(member.code, member.code);
  }
}

CharacterSet PatternReader::Set(const PatternFlags& flags) {
  static constexpr std::string_view kOpen = "an end of every set";
  CharacterSet set;
  if (Match('^')) set.Negate();
  while (true) {
    const char32_t c = Get(kOpen);
    if (c == ']' && !set.empty()) break;
    const Member first = SetMember(c);
    if (!Match('-')) {
      AddMember(first, flags, set);
      continue;
    }

    // A range, or a hyphen at the end of the set.
    const char32_t d = Get(kOpen);
    if (d == ']') {
      AddMember(first, flags, set);
      set.AddRange('-', '-');
      break;
    }
    AddRange(first, SetMember(d), set);
  }
  return set;
}

void PatternReader::AddRange(const Member& first, const Member& last, CharacterSet& set) const {
  if (first.is_category || last.is_category || last.code < first.code) {
    Refuse("ranges from a character to one that is not before it");
  }
  if (IsSurrogate(first.code) || IsSurrogate(last.code)) RefuseUnequal("a surrogate");
  set.AddRange(first.code, last.code);
}

}  // namespace qualm
