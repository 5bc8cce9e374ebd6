// The steps of exact_match in the harness's order.
#include "metrics/exact_match.h"

#include <algorithm>

#include "metrics/python_text.h"
#include "metrics/words.h"

namespace qualm {

std::string ComparedText(std::string_view text, const ExactMatchOptions& options) {
  std::string compared(text);
  // The harness keeps texts in numpy arrays, which lose zero bytes at their end at every step.
  const auto drop_zeros = [&] {
    while (compared.ends_with('\0')) compared.pop_back();
  };

  for (const PythonRegex& ignored : options.regexes_to_ignore) {
    compared = ignored.ReplaceAll(compared, "");
    drop_zeros();
  }
  if (options.ignore_case) compared = PythonLower(compared);
  if (options.ignore_punctuation) std::erase_if(compared, IsAsciiPunctuation);
  if (options.ignore_numbers) {
    std::erase_if(compared, [](char c) { return c >= '0' && c <= '9'; });
  }
  drop_zeros();
  return compared;
}

}  // namespace qualm
