// Characters as Python's str knows them: classes, upper and lower case, white space.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qualm::jinja {

enum CharacterFlag : uint16_t {
  kAlpha = 1 << 0,
  kDecimal = 1 << 1,
  kDigit = 1 << 2,
  kNumeric = 1 << 3,
  kLower = 1 << 4,
  kUpper = 1 << 5,
  kTitle = 1 << 6,
  kSpace = 1 << 7,
  kPrintable = 1 << 8,
  kNameStart = 1 << 9,       // may begin an identifier
  kNameCharacter = 1 << 10,  // may continue one
  kCaseIgnorable = 1 << 11,
};

uint16_t FlagsOf(uint32_t code);
inline bool Is(uint32_t code, int flags) { return (FlagsOf(code) & flags) != 0; }

// A text as its code points and back. Require well-formed UTF-8.
std::u32string PointsOf(std::string_view text);
std::string BytesOf(std::u32string_view points);

// As str.upper, lower, title, capitalize, casefold and swapcase do it.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Title(std::string_view text);
std::string Capitalize(std::string_view text);
std::string Fold(std::string_view text);
std::string SwapCase(std::string_view text);

// Whether there are letters of the wanted case (kLower or kUpper) and none of the other, as
// str.islower and isupper ask.
bool IsOfCase(std::string_view text, CharacterFlag wanted);

// Without the characters of `set` at the chosen ends, and without white space if `set` is null.
std::string_view Strip(std::string_view text, const std::u32string* set, bool left, bool right);

}  // namespace qualm::jinja
