// Character sets of Python's `re`, [a-z\d] and the like, in PCRE2's spelling.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qualm {

// Flags that hold at one place of a pattern.
struct PatternFlags {
  bool ignore_case = false;  // i
  bool multiline = false;    // m: ^ and $ also at line ends
  bool dot_all = false;      // s: . matches \n, too
  bool verbose = false;      // x: blanks and comments are skipped
  bool ascii = false;        // a: \d, \s, \w, \b and letters' case are ASCII's
};

// One code point as PCRE2 reads it in a set and outside.
std::string SpelledCodePoint(uint32_t code);

// What \d, \D, \s, \S, \w or \W means, as the inside of a set; empty for any other letter.
std::string CategoryBody(char32_t letter, bool ascii);

// A set that grows item by item and is then spelled out.
class CharacterSet {
 public:
  void Negate() { negated_ = true; }
  void AddRange(uint32_t first, uint32_t last);   // both inclusive
  void AddCategory(char32_t letter, bool ascii);  // Requires: CategoryBody is not empty
  bool empty() const { return body_.empty(); }

  // Complete: "[...]", or "(?i:[...])" where PCRE2 has to ignore case.
  std::string Spelled(const PatternFlags& flags) const;

 private:
  struct Range {
    uint32_t first, last;
  };
  bool Holds(uint32_t code) const;
  std::string OtherCases(bool ascii) const;

  bool negated_ = false;
  std::string body_;
  std::vector<Range> ranges_;
};

}  // namespace qualm
