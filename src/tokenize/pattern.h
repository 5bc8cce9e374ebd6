// What a step of tokenizer.json looks for in a text: a literal string or a regular expression.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "tokenize/regex.h"

namespace qualm {

// What rewriting may make of a text of so many bytes: far more than any real tokenizer does, and a
// bound on what a hostile one can.
inline constexpr size_t GrowthLimit(size_t bytes) { return (size_t{1} << 16) + 64 * bytes; }

// A part of a text, [begin, end) in bytes.
struct TextRange {
  size_t begin = 0, end = 0;
};

class Pattern {
 public:
  // {"String": "..."} or {"Regex": "..."}.
  static Pattern Parse(const Json& json, std::string_view place);
  static Pattern Literal(std::string text);  // Requires: not empty
  static Pattern Expression(std::string_view expression, std::string_view place);

  // Looks through texts, one after the other. The pattern must outlive it.
  class Finder {
   public:
    explicit Finder(const Pattern& pattern) : literal_(pattern.literal_) {
      if (pattern.regex_) scanner_.emplace(*pattern.regex_);
    }
    // Calls visit(TextRange) for every match from left to right. `text` is well-formed UTF-8.
    template <typename Visit>
    void ForEachMatch(std::string_view text, Visit visit) {
      if (scanner_) {
        scanner_->Start(text);
        TextRange match;
        while (scanner_->Next(&match.begin, &match.end)) visit(match);
        return;
      }
      size_t at = text.find(literal_);
      for (; at != std::string_view::npos; at = text.find(literal_, at + literal_.size())) {
        visit(TextRange{at, at + literal_.size()});
      }
    }

   private:
    std::string_view literal_;
    std::optional<Regex::Scanner> scanner_;
  };

  // Throws bad input if the result were longer than `most` bytes.
  std::string ReplaceAll(std::string_view text, std::string_view content, size_t most) const;
  bool is_regex() const { return regex_.has_value(); }

 private:
  std::string literal_;  // used if there is no regex
  std::optional<Regex> regex_;
};

}  // namespace qualm
