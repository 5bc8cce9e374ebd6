// What Python's str methods do to texts, by the rules of Unicode 14. Malformed bytes are read as
// U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// str.lower: by character, but a capital sigma at the end of a word becomes the final one.
std::string PythonLower(std::string_view text);
// str.upper: some characters become several ("ß" is "SS").
std::string PythonUpper(std::string_view text);
// str.strip: without blanks of any kind (IsUnicodeBlank) at both ends.
std::string PythonStrip(std::string_view text);

// re.escape: a pattern that matches the text itself.
std::string PythonEscape(std::string_view text);

// Without the characters of general category P: ASCII's and all others of Unicode.
std::string WithoutUnicodePunctuation(std::string_view text);

}  // namespace qualm
