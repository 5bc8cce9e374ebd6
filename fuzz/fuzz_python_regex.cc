// Two parts: a pattern of Python's re and a text. Bad patterns are refused, and what is accepted
// finds and replaces within its budget.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "metrics/python_regex.h"
#include "parts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [pattern, text] = qualm::fuzz::SplitParts<2>(data, size);
  try {
    const qualm::PythonRegex regex(pattern, "fuzz");
    const auto found = regex.FindAll(text);
    for (const auto& match : found) {
      QUALM_CHECK(match.size() == (regex.groups() == 0 ? 1 : regex.groups()));
    }
    (void)regex.ReplaceAll(text, "");
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
