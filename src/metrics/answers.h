// Normal forms of short answers, so that equal ones are equal texts.
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// "$1,234.0." and "1234" alike; what is no number is trimmed only.
std::string NormalizeNumber(std::string_view text);

// LaTeX answers as the MATH harness compares them (Hendrycks et al. 2021): fractions, roots, units,
// blanks in one form.
std::string NormalizeMath(std::string_view text);

// The inside of the last \boxed{...} or \fbox{...}; empty: there is none.
std::string LastBoxed(std::string_view text);

// The last number in the text, as NormalizeNumber gives it; empty: there is none.
std::string LastNumber(std::string_view text);

}  // namespace qualm
