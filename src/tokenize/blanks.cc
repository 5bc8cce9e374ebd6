// Looks at the first and last characters of UTF-8 texts.
#include "tokenize/blanks.h"

#include <algorithm>

#include "tokenize/utf8.h"

namespace qualm {
namespace {

// str.isspace of one character: white space, and the four separators of files, groups, records and
// units.
bool IsPythonBlank(uint32_t code) {
  return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 ||
         code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
         code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

// Bytes of the blank at the end; 0: there is none.
size_t LastBlank(std::string_view text) {
  for (size_t length = 1; length <= 3 && length <= text.size(); ++length) {
    const std::string_view last = text.substr(text.size() - length);
    if (ValidCharacterLength(last) == length) return IsPythonBlank(CodePoint(last)) ? length : 0;
  }
  return 0;
}

}  // namespace

bool BeginsWithBlank(std::string_view text) {
  const size_t length = text.empty() ? 0 : ValidCharacterLength(text);
  return length > 0 && IsPythonBlank(CodePoint(text.substr(0, length)));
}

bool EndsInBlank(std::string_view text) { return LastBlank(text) > 0; }

std::string_view WithoutBlanksAtEnd(std::string_view text) {
  while (const size_t length = LastBlank(text)) text.remove_suffix(length);
  return text;
}

size_t SplitCount(std::string_view text) {
  size_t runs = 0;
  bool in_run = false;
  while (!text.empty()) {
    const bool is_blank = BeginsWithBlank(text);
    runs += is_blank && !in_run ? 1 : 0;
    in_run = is_blank;
    text.remove_prefix(std::max<size_t>(1, ValidCharacterLength(text)));
  }
  return runs + 1;
}

}  // namespace qualm
