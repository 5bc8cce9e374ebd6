// Regular expressions that mean what they mean to Python's `re` (3.11), run by PCRE2 over UTF-8.
// What the two read differently is rewritten (metrics/python_pattern.h); what cannot be equal is
// refused by name (docs/tasks.md, "Patterns").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

// A compiled pattern; immutable and shared by threads.
class PythonRegex {
 public:
  // Throws bad input at `place` for what Python refuses and for what cannot mean the same here.
  PythonRegex(std::string_view pattern, std::string_view place);
  ~PythonRegex();
  PythonRegex(PythonRegex&&) noexcept;
  PythonRegex& operator=(PythonRegex&&) noexcept;

  // Groups of the pattern, without the whole match.
  size_t groups() const;

  // re.findall: for each match its groups, or the whole match if there are none; a group that took
  // no part is empty. Malformed bytes of `text` are read as U+FFFD. Throws bad input if all matches
  // together need more than kStepsPerText steps.
  std::vector<std::vector<std::string>> FindAll(std::string_view text) const;

  // re.sub with a replacement that is taken as it is, under the same budget.
  std::string ReplaceAll(std::string_view text, std::string_view replacement) const;

  // A step is one item of the pattern that is tried, or one character that it passes over.
  static constexpr uint64_t kStepsPerText = 10'000'000;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace qualm
