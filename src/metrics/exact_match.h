// lm-evaluation-harness's exact_match with its options.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "metrics/python_regex.h"

namespace qualm {

// What is taken out of both texts before they are compared, in this order. Without any of them
// texts are equal if their bytes are.
struct ExactMatchOptions {
  std::vector<PythonRegex> regexes_to_ignore;  // every match goes
  bool ignore_case = false;                    // Python's str.lower
  bool ignore_punctuation = false;             // ASCII's
  bool ignore_numbers = false;                 // the digits 0 to 9
};

// The form in which a text is compared.
std::string ComparedText(std::string_view text, const ExactMatchOptions& options);

}  // namespace qualm
