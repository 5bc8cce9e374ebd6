// Reads literals of numbers and texts.
#include "chat/jinja/literal.h"

#include <charconv>

#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

bool IsDigitOf(char c, int base) {
  const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  const int value = lower >= '0' && lower <= '9'   ? lower - '0'
                    : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
                                                   : 99;
  return value < base;
}

// Digits from `at` on, single underscores between them.
size_t DigitsEnd(std::string_view text, size_t at, int base) {
  while (at < text.size()) {
    if (IsDigitOf(text[at], base)) {
      ++at;
    } else if (text[at] == '_' && at + 1 < text.size() && IsDigitOf(text[at + 1], base)) {
      at += 2;
    } else {
      break;
    }
  }
  return at;
}

int BaseOf(char letter) {
  switch (letter) {
    case 'b':
    case 'B':
      return 2;
    case 'o':
    case 'O':
      return 8;
    case 'x':
    case 'X':
      return 16;
    default:
      return 10;
  }
}

// `count` hexadecimal digits at the front of `text`; false if there are fewer.
bool ReadHex(std::string_view text, size_t count, uint32_t* code) {
  if (text.size() < count) return false;
  const char* end = text.data() + count;
  const auto got = std::from_chars(text.data(), end, *code, 16);
  return got.ec == std::errc() && got.ptr == end;
}

}  // namespace

std::string NormalizeNewlines(std::string_view text) {
  std::string normalized;
  normalized.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      normalized += '\n';
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
    } else {
      normalized += text[i];
    }
  }
  return normalized;
}

size_t NumberLength(std::string_view text, bool after_point) {
  size_t end = DigitsEnd(text, 0, 10);
  if (!after_point) {
    // A fraction, an exponent, or both make it a float.
    size_t whole = end;
    if (whole + 1 < text.size() && text[whole] == '.' && IsDigitOf(text[whole + 1], 10)) {
      whole = end = DigitsEnd(text, whole + 1, 10);
    }
    if (whole < text.size() && (text[whole] == 'e' || text[whole] == 'E')) {
      size_t exponent = whole + 1;
      if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
      if (exponent < text.size() && IsDigitOf(text[exponent], 10)) {
        return DigitsEnd(text, exponent, 10);
      }
    }
    if (text.substr(0, end).find('.') != std::string_view::npos) return end;
  }

  const int base = text.size() > 1 && text[0] == '0' ? BaseOf(text[1]) : 10;
  if (base != 10) {
    const size_t first = text.size() > 2 && text[2] == '_' ? 3 : 2;
    if (first < text.size() && IsDigitOf(text[first], base)) return DigitsEnd(text, first, base);
    return 1;
  }
  // "012" is the number 0 and then another.
  if (text[0] != '0') return end;
  size_t zeros = 1;
  while (zeros < end && (text[zeros] == '0' || (text[zeros] == '_' && text[zeros + 1] == '0'))) {
    ++zeros;
  }
  return zeros;
}

bool ReadNumber(std::string_view text, bool* is_float, int64_t* integer, double* real) {
  std::string digits;
  for (const char c : text) {
    if (c != '_') digits += c;
  }
  int base = digits.size() > 1 && digits[0] == '0' ? BaseOf(digits[1]) : 10;
  const char* begin = digits.data() + (base == 10 ? 0 : 2);
  const char* end = digits.data() + digits.size();
  const auto whole = std::from_chars(begin, end, *integer, base);
  *is_float = whole.ptr != end;
  if (!*is_float) return whole.ec == std::errc();

  // Python reads a float beyond the largest as infinity, one below the smallest as zero.
  *real = std::strtod(digits.c_str(), nullptr);
  return true;
}

bool Unescape(std::string_view inner, std::string* text, std::string* problem) {
  static constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeanings = "\a\b\f\n\r\t\v\\'\"";
  text->clear();
  for (size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] != '\\' || i + 1 == inner.size()) {
      *text += inner[i];
      continue;
    }

    const size_t begin = i;
    const char letter = inner[++i];
    const size_t known = kLetters.find(letter);
    uint32_t code = 0;
    if (known != std::string_view::npos) {
      *text += kMeanings[known];
      continue;
    }
    if (letter == '\n') continue;
    if (letter >= '0' && letter <= '7') {
      size_t end = i;
      while (end < inner.size() && end < i + 3 && inner[end] >= '0' && inner[end] <= '7') ++end;
      std::from_chars(inner.data() + i, inner.data() + end, code, 8);
      AppendUtf8(code, *text);
      i = end - 1;
      continue;
    }
    if (letter != 'x' && letter != 'u' && letter != 'U' && letter != 'N') {
      *text += '\\';
      *text += letter;
      continue;
    }

    const size_t count = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    const bool is_read = letter != 'N' && ReadHex(inner.substr(i + 1), count, &code);
    if (!is_read || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      *problem = inner.substr(begin, 2 + count);
      return false;
    }
    AppendUtf8(code, *text);
    i += count;
  }
  return true;
}

}  // namespace qualm::jinja
