// "{}".format(...) of Python.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/format.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Arguments& arguments, bool is_markup)
      : runtime_(runtime), arguments_(arguments), is_markup_(is_markup) {}

  // `depth` counts formats inside of formats: Python has two.
  std::string Run(std::string_view format, int depth) {
    if (depth > 2) runtime_.Refuse("fields in fields of one level", "more");
    std::string out;
    for (size_t i = 0; i < format.size(); ++i) {
      const char c = format[i];
      const bool is_double = i + 1 < format.size() && format[i + 1] == c;
      if (c != '{' && c != '}') {
        out += c;
      } else if (is_double) {
        out += c;
        ++i;
      } else if (c == '}') {
        runtime_.Refuse("a '{' for each '}'", format);
      } else {
        const size_t end = FieldEnd(format, i + 1);
        out += Field(format.substr(i + 1, end - i - 1), depth);
        i = end;
      }
    }
    runtime_.Charge(out.size());
    return out;
  }

 private:
  // The '}' that closes a field.
  size_t FieldEnd(std::string_view format, size_t from) {
    int open = 1;
    for (size_t i = from; i < format.size(); ++i) {
      if (format[i] == '{') ++open;
      if (format[i] == '}' && --open == 0) return i;
    }
    runtime_.Refuse("a '}' for each '{'", format);
  }

  // name, then "!conversion", then ":format", both if wanted.
  std::string Field(std::string_view field, int depth) {
    size_t name_end = 0;
    bool in_brackets = false;
    while (name_end < field.size() &&
           (in_brackets || (field[name_end] != '!' && field[name_end] != ':'))) {
      if (field[name_end] == '[') in_brackets = true;
      if (field[name_end] == ']') in_brackets = false;
      ++name_end;
    }
    Value value = ValueOf(field.substr(0, name_end));
    std::string_view rest = field.substr(name_end);
    if (rest.starts_with('!')) {
      if (rest.size() < 2 || (rest[1] != 's' && rest[1] != 'r') ||
          (rest.size() > 2 && rest[2] != ':')) {
        runtime_.Refuse("the conversion '!s' or '!r'", rest);
      }
      value = runtime_.Text(rest[1] == 's' ? ToText(runtime_, value) : Repr(runtime_, value));
      rest.remove_prefix(2);
    }
    if (!rest.empty()) rest.remove_prefix(1);
    const std::string style = Run(rest, depth + 1);
    const std::string text = Formatted(value, style);
    return is_markup_ && !IsMarkup(value) ? EscapeHtml(runtime_, runtime_.Text(text)) : text;
  }

  Value ValueOf(std::string_view name) {
    const size_t first_end = std::min(name.find_first_of(".["), name.size());
    const std::string_view first = name.substr(0, first_end);
    Value value = First(first);
    std::string_view rest = name.substr(first_end);
    while (!rest.empty()) {
      const bool is_element = rest[0] == '[';
      const size_t end =
          std::min(is_element ? rest.find(']') : rest.find_first_of(".[", 1), rest.size());
      const std::string key(rest.substr(1, end - 1));
      if (key.empty() || (is_element && end == rest.size()))
        runtime_.Refuse("a name of a field", name);
      value =
          is_element ? ElementOf(runtime_, value, KeyOf(key)) : AttributeOf(runtime_, value, key);
      rest.remove_prefix(std::min(end + (is_element ? 1 : 0), rest.size()));
    }
    return value;
  }

  Value KeyOf(const std::string& key) {
    const bool is_place = !key.empty() && key.size() < 10 &&
                          std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
    return is_place ? Value::Int(std::stoi(key)) : runtime_.Text(key);
  }

  Value First(std::string_view name) {
    const Value key = KeyOf(std::string(name));
    const bool is_counted = name.empty();
    if (is_counted || key.Is(Kind::kInt)) {
      if (numbering_ != '\0' && (numbering_ == 'a') != is_counted) {
        runtime_.Refuse("fields that are all numbered or all not", "both");
      }
      numbering_ = is_counted ? 'a' : 'm';
      const size_t at = is_counted ? next_++ : static_cast<size_t>(key.integer);
      if (at >= arguments_.positional.size()) {
        runtime_.Refuse("a value for each field", StrCat(arguments_.positional.size(), " values"));
      }
      return arguments_.positional[at];
    }
    for (const auto& [known, value] : arguments_.named) {
      if (known == name) return value;
    }
    runtime_.Refuse("a value for each field", StrCat("none for '", name, "'"));
  }

  // [[fill]align][sign][#][0][width][grouping][.precision][type]
  FieldStyle StyleOf(const std::string& text) {
    FieldStyle style;
    const std::u32string points = PointsOf(text);
    size_t at = 0;
    const auto is_align = [&](size_t i) {
      return i < points.size() &&
             (points[i] == U'<' || points[i] == U'>' || points[i] == U'^' || points[i] == U'=');
    };
    const auto take = [&](std::u32string_view signs, char* found) {
      if (at >= points.size() || signs.find(points[at]) == std::u32string_view::npos) return false;
      *found = static_cast<char>(points[at++]);
      return true;
    };
    if (is_align(1)) {
      style.fill = BytesOf(points.substr(0, 1));
      style.align = static_cast<char>(points[1]);
      at = 2;
    } else if (is_align(0)) {
      style.align = static_cast<char>(points[0]);
      at = 1;
    }
    const bool has_fill = at == 2;

    char sign = '\0', ignored = '\0';
    take(U"+- ", &style.sign);
    style.is_alternate = take(U"#", &ignored);
    if (at < points.size() && points[at] == U'0') {
      ++at;
      if (!has_fill) style.fill.assign(1, '0');
      if (style.align == '\0') style.align = '0';
    }
    const auto number = [&] {
      int64_t value = 0;
      while (at < points.size() && points[at] >= U'0' && points[at] <= U'9') {
        value = std::min<int64_t>(value * 10 + static_cast<int64_t>(points[at++] - U'0'),
                                  int64_t{1} << 40);
      }
      return value;
    };
    style.width = number();
    take(U",_", &style.grouping);
    if (take(U".", &sign)) {
      const size_t before = at;
      style.precision = number();
      if (at == before) runtime_.Refuse("a precision after '.'", text);
    }
    take(U"bcdeEfFgGnosxX%", &style.type);
    if (at != points.size()) runtime_.Refuse("a format that is known", StrCat("'", text, "'"));
    return style;
  }

  std::string Formatted(const Value& value, const std::string& text) {
    if (text.empty()) return ToText(runtime_, value);
    FieldStyle style = StyleOf(text);
    const bool is_zero = style.align == '0';  // zeros go after the sign of a number
    if (is_zero) style.align = value.IsText() ? '<' : '=';
    if (value.IsText()) {
      if (style.type != '\0' && style.type != 's') RefuseType(style.type, value);
      if (style.align == '=' || style.sign != '-' || style.is_alternate || style.grouping != '\0') {
        runtime_.Refuse("a format for texts", StrCat("'", text, "'"));
      }
      return FormatText(runtime_, style, value.Bytes());
    }
    if (!value.IsNumber()) RefuseType(style.type, value);
    if (style.grouping != '\0' && is_zero) {
      runtime_.Refuse("a format without both zeros and groups", StrCat("'", text, "'"));
    }
    return Number(style, value);
  }

  std::string Number(FieldStyle style, const Value& value) {
    if (style.type == 'n') style.type = value.Is(Kind::kFloat) ? 'g' : 'd';
    if (style.type == 'c' && value.IsWhole()) {
      const int64_t code = value.Whole();
      if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
        runtime_.Refuse("a code point", StrCat(code));
      }
      return FormatText(runtime_, style, BytesOf(std::u32string(1, static_cast<char32_t>(code))));
    }
    const std::string_view reals = "eEfFgG%";
    const bool is_real_type =
        style.type != '\0' && reals.find(style.type) != std::string_view::npos;
    if (is_real_type || (value.Is(Kind::kFloat) && style.type == '\0')) {
      return FormatReal(runtime_, style, value.Real());
    }
    if (value.Is(Kind::kFloat) || style.type == 's' || style.type == 'c' || style.precision >= 0) {
      RefuseType(style.type, value);
    }
    return FormatWhole(runtime_, style, value.Whole());
  }

  [[noreturn]] void RefuseType(char type, const Value& value) {
    runtime_.Refuse(StrCat("a format for a ", TypeName(value)),
                    type == '\0' ? std::string("one for other types") : StrCat("'", type, "'"));
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  bool is_markup_;
  size_t next_ = 0;
  char numbering_ = '\0';  // 'a': "{}", 'm': "{0}"
};

}  // namespace

std::string BraceFormat(Runtime& runtime, std::string_view format, const Arguments& arguments,
                        bool is_markup) {
  return BraceFormatter(runtime, arguments, is_markup).Run(format, 0);
}

}  // namespace qualm::jinja
