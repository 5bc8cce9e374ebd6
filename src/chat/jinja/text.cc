// Values as texts: str() and repr() of Python, and json.dumps.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

// `digits` lower-case hexadecimal digits.
std::string Hex(uint32_t code, int digits) {
  std::string hex(static_cast<size_t>(digits), '0');
  for (int i = digits; i-- > 0; code >>= 4) {
    hex[static_cast<size_t>(i)] = "0123456789abcdef"[code & 15];
  }
  return hex;
}

void AppendReprCharacter(uint32_t code, char quote, std::string& out) {
  if (code == static_cast<uint32_t>(quote) || code == '\\') {
    out += '\\';
    out += static_cast<char>(code);
  } else if (code == '\n') {
    out += "\\n";
  } else if (code == '\r') {
    out += "\\r";
  } else if (code == '\t') {
    out += "\\t";
  } else if (Is(code, kPrintable)) {
    AppendUtf8(code, out);
  } else if (code < 0x100) {
    out += StrCat("\\x", Hex(code, 2));
  } else {
    out += code < 0x10000 ? StrCat("\\u", Hex(code, 4)) : StrCat("\\U", Hex(code, 8));
  }
}

std::string ReprOfText(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (const char32_t code : PointsOf(text)) AppendReprCharacter(code, quote, out);
  out += quote;
  return out;
}

std::string ReprOfItems(Runtime& runtime, const std::vector<Value>& items, int depth) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    out += Repr(runtime, items[i], depth + 1);
  }
  return out;
}

std::string ReprOfDict(Runtime& runtime, const DictObject& dict, int depth) {
  std::string out = "{";
  for (const auto& [key, value] : dict.items) {
    if (out.size() > 1) out += ", ";
    out += StrCat(Repr(runtime, key, depth + 1), ": ", Repr(runtime, value, depth + 1));
  }
  return out + "}";
}

std::string ReprOfRange(const RangeObject& range) {
  const std::string ends = StrCat("range(", range.start, ", ", range.stop);
  return range.step == 1 ? StrCat(ends, ")") : StrCat(ends, ", ", range.step, ")");
}

}  // namespace

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";

  // The shortest digits that read back as the value: d.ddde+XX.
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string text(buffer, end.ptr);
  const size_t mark = text.find('e');
  const int exponent = std::stoi(text.substr(mark + 1));
  if (exponent < -4 || exponent >= 16) return text;

  // Python writes other numbers without an exponent, and always with a point.
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  std::string out(buffer, fixed.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string Repr(Runtime& runtime, const Value& value, int depth) {
  runtime.Step();
  if (depth > kDeepestValue) runtime.Refuse("values of at most 200 levels", "more");
  std::string out;
  switch (value.kind) {
    case Kind::kUndefined:
      out = "Undefined";
      break;
    case Kind::kNone:
      out = "None";
      break;
    case Kind::kBool:
      out = value.truth ? "True" : "False";
      break;
    case Kind::kInt:
      out = StrCat(value.integer);
      break;
    case Kind::kFloat:
      out = FloatText(value.real);
      break;
    case Kind::kText:
      out = ReprOfText(value.Bytes());
      if (IsMarkup(value)) out = StrCat("Markup(", out, ")");
      break;
    case Kind::kList:
      out = StrCat("[", ReprOfItems(runtime, value.Items(), depth), "]");
      break;
    case Kind::kTuple:
      out = StrCat("(", ReprOfItems(runtime, value.Items(), depth),
                   value.Items().size() == 1 ? ",)" : ")");
      break;
    case Kind::kDict:
      out = ReprOfDict(runtime, value.As<DictObject>(), depth);
      break;
    case Kind::kRange:
      out = ReprOfRange(value.As<RangeObject>());
      break;
    case Kind::kView:
      out =
          StrCat(TypeName(value), "([", ReprOfItems(runtime, ItemsOf(runtime, value), depth), "])");
      break;
    case Kind::kNamespace:
      out = StrCat("<Namespace ", Repr(runtime, value.As<NamespaceObject>().attributes, depth + 1),
                   ">");
      break;
    default:
      // Python prints an address.
      runtime.Refuse("a value that has a text", StrCat("a ", TypeName(value)));
  }
  runtime.Charge(out.size());
  return out;
}

std::string ToText(Runtime& runtime, const Value& value) {
  if (value.IsText()) return value.Bytes();
  if (value.IsUndefined()) {
    if (runtime.options().strict_undefined) {
      runtime.Refuse("a defined value", value.As<UndefinedObject>().message);
    }
    return "";
  }
  return Repr(runtime, value);
}

// --- JSON

namespace {

void AppendJsonText(std::string_view text, bool ensure_ascii, std::string& out) {
  out += '"';
  for (const char32_t code : PointsOf(text)) {
    static constexpr std::string_view kShort = "\b\f\n\r\t\"\\", kLetters = "bfnrt\"\\";
    const size_t at = code < 0x80 ? kShort.find(static_cast<char>(code)) : std::string_view::npos;
    if (at != std::string_view::npos) {
      out += '\\';
      out += kLetters[at];
    } else if (code >= 0x10000 && ensure_ascii) {
      out += StrCat("\\u", Hex(0xd800 + ((code - 0x10000) >> 10), 4), "\\u",
                    Hex(0xdc00 + ((code - 0x10000) & 0x3ff), 4));
    } else if (code < 0x20 || (code >= 0x7f && ensure_ascii && code != 0x7f)) {
      out += StrCat("\\u", Hex(code, 4));
    } else {
      AppendUtf8(code, out);
    }
  }
  out += '"';
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {
    is_indented_ = !style.indent.IsNone();
    if (style.indent.IsText()) {
      indent_ = style.indent.Bytes();
    } else if (is_indented_) {
      const int64_t width = IntArgument(runtime, style.indent, "indent");
      runtime.Charge(static_cast<size_t>(std::max<int64_t>(width, 0)));
      indent_.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }

  std::string Run(const Value& value) {
    Write(value, 0);
    return std::move(out_);
  }

 private:
  void Write(const Value& value, int depth) {
    runtime_.Step();
    if (depth > kDeepestValue) runtime_.Refuse("values of at most 200 levels", "more");
    const size_t before = out_.size();
    switch (value.kind) {
      case Kind::kNone:
        out_ += "null";
        break;
      case Kind::kBool:
        out_ += value.truth ? "true" : "false";
        break;
      case Kind::kInt:
        out_ += StrCat(value.integer);
        break;
      case Kind::kFloat:
        out_ += NumberText(value.real);
        break;
      case Kind::kText:
        AppendJsonText(value.Bytes(), style_.ensure_ascii, out_);
        break;
      case Kind::kList:
      case Kind::kTuple:
        return WriteList(value.Items(), depth);
      case Kind::kDict:
        return WriteDict(value.As<DictObject>(), depth);
      default:
        runtime_.Refuse("a value that JSON has", TypeName(value));
    }
    runtime_.Charge(out_.size() - before);
  }

  static std::string NumberText(double real) {
    if (std::isnan(real)) return "NaN";
    if (std::isinf(real)) return real < 0 ? "-Infinity" : "Infinity";
    return FloatText(real);
  }

  void BreakLine(int depth) {
    if (!is_indented_) return;
    runtime_.Charge(1 + indent_.size() * static_cast<size_t>(depth));
    out_ += '\n';
    for (int i = 0; i < depth; ++i) out_ += indent_;
  }

  void WriteList(const std::vector<Value>& items, int depth) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      BreakLine(depth + 1);
      Write(items[i], depth + 1);
    }
    if (!items.empty()) BreakLine(depth);
    out_ += ']';
  }

  void WriteDict(const DictObject& dict, int depth) {
    std::vector<std::pair<Value, Value>> items = dict.items;
    if (style_.sort_keys) {
      std::ranges::stable_sort(
          items, [&](const auto& a, const auto& b) { return Less(runtime_, a.first, b.first); });
    }

    out_ += '{';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      BreakLine(depth + 1);
      AppendJsonText(KeyText(items[i].first), style_.ensure_ascii, out_);
      out_ += style_.key_separator;
      Write(items[i].second, depth + 1);
    }
    if (!items.empty()) BreakLine(depth);
    out_ += '}';
  }

  // Numbers, truth values and none are keys by their JSON text.
  std::string KeyText(const Value& key) {
    if (key.IsText()) return key.Bytes();
    if (key.IsNone()) return "null";
    if (key.Is(Kind::kBool)) return key.truth ? "true" : "false";
    if (key.Is(Kind::kInt)) return StrCat(key.integer);
    if (key.Is(Kind::kFloat)) return NumberText(key.real);
    runtime_.Refuse("a key that JSON has", TypeName(key));
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  bool is_indented_ = false;
  std::string indent_, out_;
};

}  // namespace

std::string DumpJson(Runtime& runtime, const Value& value, const JsonStyle& style) {
  return JsonWriter(runtime, style).Run(value);
}

}  // namespace qualm::jinja
