// format % values of Python.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/format.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, std::string_view format, const Value& values, bool is_markup)
      : runtime_(runtime), rest_(format), values_(values), is_markup_(is_markup) {}

  std::string Run() {
    std::string out;
    while (!rest_.empty()) {
      const size_t at = std::min(rest_.find('%'), rest_.size());
      out += rest_.substr(0, at);
      rest_.remove_prefix(at);
      if (rest_.empty()) break;
      rest_.remove_prefix(1);
      out += Directive();
    }
    CheckAllUsed();
    return out;
  }

 private:
  void CheckAllUsed() {
    const bool is_tuple = values_.Is(Kind::kTuple);
    const size_t count = is_tuple ? values_.Items().size() : 1;
    // A single value that has elements may be meant for "%(name)s", so it may stay unused.
    const bool may_stay = !is_tuple && !values_.IsText() &&
                          (values_.Is(Kind::kDict) || values_.Is(Kind::kList) ||
                           values_.Is(Kind::kRange) || values_.IsUndefined());
    if (next_ < count && !may_stay) runtime_.Refuse("a place for each value", "fewer places");
  }

  Value NextValue() {
    const bool is_tuple = values_.Is(Kind::kTuple);
    if (next_ >= (is_tuple ? values_.Items().size() : 1)) {
      runtime_.Refuse("a value for each place", "fewer values");
    }
    const size_t at = next_++;
    return is_tuple ? values_.Items()[at] : values_;
  }

  char Front() {
    if (rest_.empty()) runtime_.Refuse("a whole directive after '%'", "the end of the text");
    return rest_[0];
  }

  // Digits, or "*" for the next value; `otherwise` if there is neither.
  int64_t Number(int64_t otherwise) {
    if (Front() == '*') {
      rest_.remove_prefix(1);
      return IntArgument(runtime_, NextValue(), "a width");
    }
    if (Front() < '0' || Front() > '9') return otherwise;
    int64_t number = 0;
    while (Front() >= '0' && Front() <= '9') {
      number = std::min<int64_t>(number * 10 + (Front() - '0'), int64_t{1} << 40);
      rest_.remove_prefix(1);
    }
    return number;
  }

  std::string Directive() {
    if (Front() == '%') {
      rest_.remove_prefix(1);
      return "%";
    }
    Value value;
    if (Front() == '(') {
      const size_t end = rest_.find(')');
      if (end == std::string_view::npos || !values_.Is(Kind::kDict)) {
        runtime_.Refuse("a dict and a key in brackets", TypeName(values_));
      }
      const Value key = runtime_.Text(std::string(rest_.substr(1, end - 1)));
      const Value* found = FindKey(runtime_, values_.As<DictObject>(), key);
      if (found == nullptr) runtime_.Refuse("a key of the dict", Repr(runtime_, key));
      value = *found;
      next_ = 1;
      rest_.remove_prefix(end + 1);
    }

    FieldStyle style;
    bool has_zero = false;
    for (; std::string_view("-+ #0").find(Front()) != std::string_view::npos;
         rest_.remove_prefix(1)) {
      if (Front() == '-') style.align = '<';
      if (Front() == '+' || (Front() == ' ' && style.sign == '-')) style.sign = Front();
      if (Front() == '#') style.is_alternate = true;
      if (Front() == '0') has_zero = true;
    }
    style.width = Number(0);
    if (style.width < 0) {
      style.align = '<';
      style.width = -style.width;
    }
    if (Front() == '.') {
      rest_.remove_prefix(1);
      style.precision = std::max<int64_t>(Number(0), 0);
    }
    while (Front() == 'h' || Front() == 'l' || Front() == 'L') rest_.remove_prefix(1);
    style.type = Front();
    rest_.remove_prefix(1);
    if (value.IsAbsent()) value = NextValue();
    if (style.type == '%') return "%";
    return Converted(style, has_zero, value);
  }

  std::string Converted(FieldStyle& style, bool has_zero, const Value& value) {
    const auto use_zeros = [&] {
      if (!has_zero || style.align == '<') return;
      style.align = '=';
      style.fill.assign(1, '0');
    };
    if (style.align == '\0') style.align = '>';
    switch (style.type) {
      case 's':
        return FormatText(runtime_, style,
                          is_markup_ ? EscapeHtml(runtime_, value) : ToText(runtime_, value));
      case 'r':
        return FormatText(runtime_, style, Repr(runtime_, value));
      case 'c':
        return FormatText(runtime_, style, Character(value));
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        use_zeros();
        return FormatWhole(runtime_, style, Whole(style.type, value));
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        use_zeros();
        if (!value.IsNumber()) runtime_.Refuse("a number to format", TypeName(value));
        return FormatReal(runtime_, style, value.Real());
      default:
        runtime_.Refuse("a directive that is known", StrCat("'%", style.type, "'"));
    }
  }

  std::string Character(const Value& value) {
    std::string character;
    if (value.IsWhole()) {
      const int64_t code = value.Whole();
      if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
        runtime_.Refuse("a code point", StrCat(code));
      }
      AppendUtf8(static_cast<uint32_t>(code), character);
    } else {
      character = TextArgument(runtime_, value, "a character");
      if (CountCharacters(character) != 1) runtime_.Refuse("one character", character);
    }
    return character;
  }

  int64_t Whole(char type, const Value& value) {
    const bool is_decimal = type == 'd' || type == 'i' || type == 'u';
    if (is_decimal && value.Is(Kind::kFloat) && std::fabs(value.real) < 9e18) {
      return static_cast<int64_t>(value.real);
    }
    if (value.IsUndefined()) runtime_.Refuse("a number", value.As<UndefinedObject>().message);
    return IntArgument(runtime_, value, "a number to format");
  }

  Runtime& runtime_;
  std::string_view rest_;
  const Value& values_;
  bool is_markup_;
  size_t next_ = 0;
};

}  // namespace

std::string PercentFormat(Runtime& runtime, std::string_view format, const Value& values,
                          bool is_markup) {
  return PercentFormatter(runtime, format, values, is_markup).Run();
}

}  // namespace qualm::jinja
