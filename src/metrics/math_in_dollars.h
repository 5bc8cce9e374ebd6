// How lm-evaluation-harness compares answers of MATH (hendrycks_math): the text between the first
// and the last dollar sign, in the normal form of Hendrycks et al. 2021.
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// Whether an answer's text between its first and last $ (all of it with less than two) equals the
// reference in that normal form. Where the form does not exist for one of the two (a \frac without
// an argument, a / between other things than integers), they are equal only as they are.
bool IsEqualMathInDollars(std::string_view answer, std::string_view reference);

}  // namespace qualm
