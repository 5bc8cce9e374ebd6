// Blanks at the ends of texts, as Python's str.isspace and str.rstrip know them.
#pragma once

#include <cstddef>
#include <string_view>

namespace qualm {

// False for an empty text.
bool BeginsWithBlank(std::string_view text);
bool EndsInBlank(std::string_view text);
// The text without the blanks at its end.
std::string_view WithoutBlanksAtEnd(std::string_view text);

// The pieces that Python's re.split(r"\s+", text) gives: one more than there are runs of blanks.
size_t SplitCount(std::string_view text);

}  // namespace qualm
