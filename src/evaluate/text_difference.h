// Where two texts differ, shown so that a terminal cannot be misled and blanks can be told apart.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace qualm {

// `text` in double quotes. Quotes, backslashes and line ends are escaped as in C; other control
// characters, every blank but the plain space, and characters that have no width or change the
// direction of writing become \u{202E}; bytes that are not UTF-8 become \xNN.
std::string QuotedForTerminal(std::string_view text);

// The parts of two texts between their common beginning and their common end.
struct TextDifference {
  size_t character = 0;       // where they begin to differ, counted from 1
  size_t line = 0;            // likewise
  std::string first, second;  // quoted, with a few characters around them; dots where they are cut
};

// Requires: the texts differ.
TextDifference DifferenceOf(std::string_view first, std::string_view second);

}  // namespace qualm
