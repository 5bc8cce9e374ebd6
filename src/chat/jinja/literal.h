// Literals of numbers and texts, as jinja2's lexer reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qualm::jinja {

// \r\n and \r become \n.
std::string NormalizeNewlines(std::string_view text);

// How many bytes at the front of `text` are a number. Requires: it begins with a digit. After a
// point ("list.0.5") there are no numbers with a fraction.
size_t NumberLength(std::string_view text, bool after_point);
// The value of a number with its underscores, into the one or the other. False for an integer of
// more than 64 bits.
bool ReadNumber(std::string_view text, bool* is_float, int64_t* integer, double* real);

// The inside of a text literal with Python's escapes resolved; unknown ones stay as they are. False
// for escapes that are cut short, that name no character, or that are not known here (\N).
bool Unescape(std::string_view inner, std::string* text, std::string* problem);

}  // namespace qualm::jinja
