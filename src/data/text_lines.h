// Walking through the lines of a text file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/strings.h"
#include "io/python_json.h"

namespace qualm {

// Calls body(line, number from 1) for every line; the last one may lack its end.
template <typename Body>
void ForLines(std::string_view text, const Body& body) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    body(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// Calls body(value, "place:line") for every line that is not blank. Throws bad input for a line
// that is not JSON.
template <typename Body>
void ForJsonLines(std::string_view text, std::string_view place, const Body& body) {
  ForLines(text, [&](std::string_view line, size_t number) {
    if (Trim(line).empty()) return;
    const std::string where = StrCat(place, ":", number);
    body(ParsePythonJson(line, where), where);
  });
}

}  // namespace qualm
