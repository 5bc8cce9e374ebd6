// Reads a regular expression character by character, with Python's escapes and character sets and
// with messages that name the position. The translator of patterns (python_pattern.cc) is built on
// it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "metrics/python_class.h"

namespace qualm {

// Of ASCII.
inline bool IsDigit(char32_t c) { return c >= '0' && c <= '9'; }
inline bool IsOctal(char32_t c) { return c >= '0' && c <= '7'; }
inline bool IsLetter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
// Half of a character beyond U+FFFF in UTF-16; UTF-8 has none.
inline bool IsSurrogate(char32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

class PatternReader {
 public:
  // `pattern` (valid UTF-8) and `place` must outlive the reader.
  PatternReader(std::string_view pattern, std::string_view place);

 protected:
  // What Python refuses: bad input that names the position.
  [[noreturn]] void RefuseAt(size_t at, std::string_view expected) const;
  [[noreturn]] void Refuse(std::string_view expected) const { RefuseAt(at_, expected); }
  // What Python accepts, but what cannot mean the same here.
  [[noreturn]] void RefuseUnequal(std::string_view what) const;

  bool AtEnd() const { return at_ >= points_.size(); }
  char32_t Peek() const { return AtEnd() ? U'\0' : points_[at_]; }
  bool NextIs(char32_t c) const { return !AtEnd() && points_[at_] == c; }
  // Passes the next character if it is `c`.
  bool Match(char32_t c);
  // The next character, or bad input with `expected` at the end.
  char32_t Get(std::string_view expected);
  // The text up to `end`, which is passed.
  std::u32string Until(char32_t end);

  // \a, \f, \n, \r, \t, \v and the backslash itself; nothing for other characters.
  static std::optional<char32_t> ControlEscape(char32_t c);
  // The code point of \x, \u or \U, whose letter was read; nothing for other letters.
  std::optional<char32_t> CodePointEscape(char32_t c);
  // Adds up to two more octal digits to `value`.
  char32_t Octal(char32_t value);

  // The set after '['. A ']' at once is a member; so is a '[' anywhere.
  CharacterSet Set(const PatternFlags& flags);

  std::string_view pattern_, place_;
  std::u32string points_;
  size_t at_ = 0;  // in points_

 private:
  // A member of a set: a code point, or the letter of a category.
  struct Member {
    char32_t code = 0;
    bool is_category = false;
  };
  char32_t Hex(int digits);
  Member SetMember(char32_t c);
  void AddMember(const Member& member, const PatternFlags& flags, CharacterSet& set) const;
  void AddRange(const Member& first, const Member& last, CharacterSet& set) const;
};

}  // namespace qualm
