// Reads the pattern from JSON, finds and replaces its matches, and bounds how much a text may grow
// when matches are replaced.
#include "tokenize/pattern.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

void RequireSize(size_t bytes, size_t most) {
  if (bytes <= most) return;
  ThrowBadInput("tokenizer", StrCat("replacements that leave at most ", most, " bytes"), "more",
                "no real tokenizer makes so much of a text");
}

}  // namespace

Pattern Pattern::Parse(const Json& json, std::string_view place) {
  if (json.is_object() && json.size() == 1) {
    if (json.contains("Regex")) return Expression(GetString(json, "Regex", place), place);
    if (json.contains("String")) {
      std::string text = GetString(json, "String", place);
      // The empty string matches between any two characters, as an empty expression does.
      if (text.empty()) return Expression("", place);
      return Literal(std::move(text));
    }
  }
  ThrowBadInput(place, "a pattern {\"String\": ...} or {\"Regex\": ...}",
                json.dump().substr(0, 100));
}

Pattern Pattern::Literal(std::string text) {
  QUALM_CHECK(!text.empty());
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::Expression(std::string_view expression, std::string_view place) {
  Pattern pattern;
  pattern.regex_.emplace(expression, place);
  return pattern;
}

std::string Pattern::ReplaceAll(std::string_view text, std::string_view content,
                                size_t most) const {
  std::string out;
  size_t done = 0;
  Finder(*this).ForEachMatch(text, [&](TextRange match) {
    out += text.substr(done, match.begin - done);
    out += content;
    done = match.end;
    RequireSize(out.size(), most);
  });
  out += text.substr(done);
  RequireSize(out.size(), most);
  return out;
}

}  // namespace qualm
