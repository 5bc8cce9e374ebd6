// Numbers and texts in fields, as Python's format() and % write them.
#include "chat/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "chat/jinja/characters.h"

namespace qualm::jinja {
namespace {

constexpr int64_t kWidest = 1000000, kMostDigits = 1000;

std::string Printed(const char* format, int precision, double value) {
  std::string text(static_cast<size_t>(std::snprintf(nullptr, 0, format, precision, value)) + 1,
                   '\0');
  std::snprintf(text.data(), text.size(), format, precision, value);
  text.pop_back();
  return text;
}

// Signs between groups of three digits, counted from the point.
std::string Grouped(const std::string& number, char sign, size_t group) {
  if (sign == '\0') return number;
  const size_t whole = std::min(number.find_first_not_of("0123456789abcdefABCDEF"), number.size());
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += sign;
    out += number[i];
  }
  return out + number.substr(whole);
}

// As format(value, ".<precision>") without a type: the shorter of two forms, with a point in it.
std::string General(double value, int precision, bool always_has_point) {
  const std::string scientific = Printed("%.*e", std::max(precision, 1) - 1, value);
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  const int limit = std::max(precision, 1);
  if (!always_has_point || exponent < -4 || exponent < limit - 1) {
    std::string text = Printed("%.*g", precision, value);
    const bool is_whole = text.find_first_of(".e") == std::string::npos;
    return is_whole && always_has_point ? text + ".0" : text;
  }
  // Trailing zeros of the digits go.
  const size_t mark = scientific.find('e');
  std::string digits = scientific.substr(0, mark);
  if (digits.find('.') != std::string::npos) {
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.ends_with('.')) digits.pop_back();
  }
  return digits + scientific.substr(mark);
}

}  // namespace

std::string InField(Runtime& runtime, const FieldStyle& style, char default_align,
                    std::string_view sign_and_prefix, std::string_view body) {
  if (style.width > kWidest) {
    runtime.Refuse(StrCat("a field of at most ", kWidest, " characters"), StrCat(style.width));
  }
  const auto size = static_cast<int64_t>(CountCharacters(sign_and_prefix) + CountCharacters(body));
  const int64_t missing = std::max<int64_t>(style.width - size, 0);
  runtime.Charge(static_cast<size_t>(missing) * style.fill.size() + body.size());
  const auto filling = [&](int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) out += style.fill;
    return out;
  };

  switch (style.align == '\0' ? default_align : style.align) {
    case '<':
      return StrCat(sign_and_prefix, body, filling(missing));
    case '^':
      return StrCat(filling(missing / 2), sign_and_prefix, body, filling(missing - missing / 2));
    case '=':
      return StrCat(sign_and_prefix, filling(missing), body);
    default:
      return StrCat(filling(missing), sign_and_prefix, body);
  }
}

std::string FormatWhole(Runtime& runtime, const FieldStyle& style, int64_t value) {
  const uint64_t size = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  const unsigned base = style.type == 'x' || style.type == 'X' ? 16
                        : style.type == 'o'                    ? 8
                        : style.type == 'b'                    ? 2
                                                               : 10;
  std::string digits;
  for (uint64_t rest = size; rest != 0 || digits.empty(); rest /= base) {
    digits += (style.type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[rest % base];
  }
  if (style.precision > kMostDigits) {
    runtime.Refuse(StrCat("at most ", kMostDigits, " digits"), StrCat(style.precision));
  }
  while (static_cast<int64_t>(digits.size()) < style.precision) digits += '0';
  std::ranges::reverse(digits);

  std::string sign = value < 0 ? "-" : style.sign == '-' ? "" : std::string(1, style.sign);
  if (style.is_alternate && base != 10) sign += StrCat("0", style.type);
  return InField(runtime, style, '>', sign, Grouped(digits, style.grouping, base == 10 ? 3 : 4));
}

std::string FormatReal(Runtime& runtime, const FieldStyle& style, double value) {
  if (style.precision > kMostDigits) {
    runtime.Refuse(StrCat("at most ", kMostDigits, " digits"), StrCat(style.precision));
  }
  const bool is_negative = std::signbit(value) && !std::isnan(value);
  const double size = std::isnan(value) ? value : std::fabs(value);
  const int precision = style.precision < 0 ? 6 : static_cast<int>(style.precision);

  std::string body;
  const bool is_upper = style.type == 'E' || style.type == 'F' || style.type == 'G';
  if (!std::isfinite(value)) {
    body = std::isnan(value) ? (is_upper ? "NAN" : "nan") : (is_upper ? "INF" : "inf");
    if (style.type == '%') body += '%';
  } else if (style.type == '\0') {
    body = style.precision < 0 ? FloatText(size) : General(size, precision, true);
  } else if (style.type == '%') {
    body = Printed("%.*f", precision, size * 100) + "%";
  } else {
    std::string format = style.is_alternate ? "%#.*" : "%.*";
    format += style.type;
    body = Printed(format.c_str(), precision, size);
  }
  const std::string sign = is_negative ? "-" : style.sign == '-' ? "" : std::string(1, style.sign);
  return InField(runtime, style, '>', sign, Grouped(body, style.grouping, 3));
}

std::string FormatText(Runtime& runtime, const FieldStyle& style, std::string_view text) {
  std::string cut(text);
  if (style.precision >= 0 && static_cast<int64_t>(CountCharacters(text)) > style.precision) {
    cut = BytesOf(PointsOf(text).substr(0, static_cast<size_t>(style.precision)));
  }
  return InField(runtime, style, '<', "", cut);
}

}  // namespace qualm::jinja
