// Filters of numbers, and the reading of numbers in texts.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

// A float without its fraction. Throws bad input for one that 64 bits do not hold.
Value Truncated(Runtime& runtime, double real) {
  if (!(std::fabs(real) < 9223372036854775808.0)) {
    runtime.Refuse("integers of at most 64 bits", FloatText(real));
  }
  return Value::Int(static_cast<int64_t>(real));
}

// Digits with single underscores between them; others if it is not that.
bool WithoutUnderscores(std::string_view text, std::string* digits) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      *digits += text[i];
      continue;
    }
    const auto is_digit = [&](size_t at) {
      return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0);
    };
    if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) return false;
  }
  return true;
}

Value IntFilter(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value otherwise = Or(a[0], Value::Int(0));
  if (self.IsUndefined()) runtime.Refuse("a value", self.As<UndefinedObject>().message);
  if (self.IsWhole()) return Value::Int(self.Whole());
  if (self.Is(Kind::kFloat)) {
    return std::isnan(self.real) ? otherwise : Truncated(runtime, self.real);
  }
  if (!self.IsText()) return otherwise;

  int64_t whole = 0;
  const int64_t base = IntArgument(runtime, Or(a[1], Value::Int(10)), "base");
  if (ReadInt(runtime, self.Bytes(), base, &whole)) return Value::Int(whole);
  double real = 0;
  if (!ReadFloat(self.Bytes(), &real) || !std::isfinite(real)) return otherwise;
  return Truncated(runtime, real);
}

Value FloatFilter(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  if (self.IsUndefined()) runtime.Refuse("a value", self.As<UndefinedObject>().message);
  double real = 0;
  if (self.IsNumber()) return Value::Float(self.Real());
  if (self.IsText() && ReadFloat(self.Bytes(), &real)) return Value::Float(real);
  return Or(a[0], Value::Float(0));
}

Value Abs(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  if (self.Is(Kind::kFloat)) return Value::Float(std::fabs(self.real));
  if (self.IsUndefined()) runtime.Refuse("a number", self.As<UndefinedObject>().message);
  if (!self.IsWhole()) runtime.Refuse("a number for 'abs'", TypeName(self));
  return self.Whole() < 0 ? Signed(runtime, self, /*is_negated=*/true) : Value::Int(self.Whole());
}

// To `places` after the point, exact halves to the even digit.
double RoundReal(double real, int64_t places) {
  if (!std::isfinite(real) || places > 330) return real;
  if (places < -330) return std::copysign(0.0, real);
  if (places < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-places));
    return std::nearbyint(real / unit) * unit;
  }
  char buffer[800];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(places), real);
  return std::strtod(buffer, nullptr);
}

Value RoundWhole(Runtime& runtime, int64_t whole, int64_t places) {
  if (places >= 0) return Value::Int(whole);
  if (places < -18) return Value::Int(0);
  int64_t unit = 1;
  for (int64_t i = 0; i > places; --i) unit *= 10;
  int64_t rest = whole % unit;
  if (rest < 0) rest += unit;
  const int64_t below = whole - rest;
  const bool is_up = rest > unit / 2 || (rest == unit / 2 && (below / unit) % 2 != 0);
  return is_up ? Arithmetic(runtime, Operator::kAdd, Value::Int(below), Value::Int(unit))
               : Value::Int(below);
}

Value Round(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const int64_t places = IntArgument(runtime, Or(a[0], Value::Int(0)), "precision");
  const std::string method = a[1].IsAbsent() ? "common" : TextArgument(runtime, a[1], "method");
  if (method != "common" && method != "ceil" && method != "floor") {
    runtime.Refuse("'common', 'ceil' or 'floor' as method", method);
  }
  if (self.IsUndefined()) runtime.Refuse("a number", self.As<UndefinedObject>().message);
  if (!self.IsNumber()) runtime.Refuse("a number for 'round'", TypeName(self));
  if (method == "common") {
    return self.IsWhole() ? RoundWhole(runtime, self.Whole(), places)
                          : Value::Float(RoundReal(self.real, places));
  }

  const double unit = std::pow(10.0, static_cast<double>(places));
  const double scaled = self.Real() * unit;
  if (!std::isfinite(scaled)) runtime.Refuse("a number that can be rounded", FloatText(scaled));
  return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit +
                      0.0);  // not -0.0
}

Value FileSize(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  double bytes = 0;
  if (self.IsNumber()) {
    bytes = self.Real();
  } else if (!self.IsText() || !ReadFloat(self.Bytes(), &bytes)) {
    runtime.Refuse("a number for 'filesizeformat'", TypeName(self));
  }
  const bool is_binary = IsTrue(runtime, a[0]);
  const double base = is_binary ? 1024 : 1000;
  if (bytes == 1) return runtime.Text("1 Byte");
  if (bytes < base) {
    return runtime.Text(StrCat(Truncated(runtime, bytes).integer, " Bytes"));
  }

  static constexpr std::string_view kPrefixes[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
  double unit = base;
  size_t i = 0;
  for (; i + 1 < std::size(kPrefixes) && bytes >= unit * base; ++i) unit *= base;
  const std::string_view prefix = is_binary && i == 0 ? "K" : kPrefixes[i];
  return runtime.Text(StrCat(Fixed(bytes / unit, 1), " ", prefix, is_binary ? "iB" : "B"));
}

}  // namespace

bool ReadInt(Runtime& runtime, std::string_view text, int64_t base, int64_t* value) {
  if (base != 0 && (base < 2 || base > 36)) return false;
  text = Strip(text, nullptr, true, true);
  const bool is_negative = text.starts_with('-');
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);

  // A prefix is allowed where the base is its own or is left open.
  const char letter = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const int64_t of_prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (of_prefix != 0 && (base == 0 || base == of_prefix)) {
    base = of_prefix;
    text.remove_prefix(2);
    if (text.starts_with('_')) text.remove_prefix(1);
  }
  std::string digits = is_negative ? "-" : "";
  if (text.empty() || text[0] == '-' || !WithoutUnderscores(text, &digits)) return false;
  if (base == 0) {
    const bool is_zero = digits.find_first_not_of("-0") == std::string::npos;
    if (text[0] == '0' && !is_zero) return false;
    base = 10;
  }

  const char* end = digits.data() + digits.size();
  const auto got = std::from_chars(digits.data(), end, *value, static_cast<int>(base));
  if (got.ptr != end || got.ec == std::errc::invalid_argument) return false;
  if (got.ec != std::errc()) runtime.Refuse("integers of at most 64 bits", text);
  return true;
}

bool ReadFloat(std::string_view text, double* value) {
  text = Strip(text, nullptr, true, true);
  std::string digits;
  if (!WithoutUnderscores(text, &digits)) return false;
  std::string_view rest = digits;
  const bool is_negative = rest.starts_with('-');
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);

  const std::string word = ToLower(rest);
  if (word == "inf" || word == "infinity" || word == "nan") {
    *value = word == "nan" ? std::numeric_limits<double>::quiet_NaN()
                           : std::numeric_limits<double>::infinity();
    if (is_negative) *value = -*value;
    return true;
  }
  // Decimal only: strtod also reads hexadecimal numbers.
  if (rest.empty() || rest.find_first_not_of("0123456789.eE+-") != std::string_view::npos ||
      rest[0] == '-' || rest[0] == '+') {
    return false;
  }
  char* end = nullptr;
  *value = std::strtod(digits.c_str(), &end);
  return end == digits.c_str() + digits.size();
}

std::span<const NativeFunction> NumberFilters() {
  static constexpr NativeFunction kFilters[] = {
      {"abs", "", Abs},
      {"filesizeformat", "binary?", FileSize},
      {"float", "default?", FloatFilter},
      {"int", "default? base?", IntFilter},
      {"round", "precision? method?", Round},
  };
  return kFilters;
}

}  // namespace qualm::jinja
