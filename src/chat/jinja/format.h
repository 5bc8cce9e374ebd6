// Inside of PercentFormat and BraceFormat: numbers and texts in a field of some width.
#pragma once

#include <string>
#include <string_view>

#include "chat/jinja/runtime.h"

namespace qualm::jinja {

struct FieldStyle {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '=' (zeros after the sign); none: as the type likes it
  char sign = '-';    // '+' and ' ' mark positive numbers too
  bool is_alternate = false;  // "#"
  int64_t width = 0;
  char grouping = '\0';  // ',' or '_'
  int64_t precision = -1;
  char type = '\0';
};

// Throws bad input for a width or precision that is too large.
std::string InField(Runtime& runtime, const FieldStyle& style, char default_align,
                    std::string_view sign_and_prefix, std::string_view body);
// Types d, x, X, o, b; `style` gives the type.
std::string FormatWhole(Runtime& runtime, const FieldStyle& style, int64_t value);
// Types e, E, f, F, g, G, % and none.
std::string FormatReal(Runtime& runtime, const FieldStyle& style, double value);
// A text, cut to the precision.
std::string FormatText(Runtime& runtime, const FieldStyle& style, std::string_view text);

}  // namespace qualm::jinja
