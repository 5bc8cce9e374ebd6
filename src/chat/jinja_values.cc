#include "chat/jinja_values.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v";
constexpr size_t kMostText = size_t{16} << 20;

// As Python's repr: strings in single quotes inside lists.
std::string Repr(const Json& value) {
  if (value.is_string()) return StrCat("'", value.get<std::string>(), "'");
  return TextOf(value);
}

// Where characters begin in a text, and its end: indexes count characters, not bytes.
std::vector<size_t> CharacterStarts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size(); at += CharacterLength(text.substr(at))) {
    starts.push_back(at);
  }
  starts.push_back(text.size());
  return starts;
}

std::string Stripped(const std::string& text, std::string_view signs, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end && signs.find(text[begin]) != std::string_view::npos) ++begin;
  while (right && end > begin && signs.find(text[end - 1]) != std::string_view::npos) --end;
  return text.substr(begin, end - begin);
}

std::string Cased(std::string text, bool upper) {
  for (char& c : text) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::string Replaced(const std::string& text, const std::string& from, const std::string& to) {
  if (from.empty()) return text;
  std::string made;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos; at = found + from.size()) {
    made += text.substr(at, found - at) + to;
    if (made.size() > kMostText) ThrowBadInput("chat template", "at most 16 MiB of text", "more");
  }
  return made + text.substr(at);
}

Json SplitText(const std::string& text, const std::vector<Json>& arguments) {
  Json parts = Json::array();
  if (arguments.empty() || arguments[0].is_null()) {  // at runs of blanks
    for (size_t at = 0; (at = text.find_first_not_of(kBlanks, at)) != std::string::npos;) {
      const size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
      parts.push_back(text.substr(at, end - at));
      at = end;
    }
    return parts;
  }
  const std::string separator = TextOf(arguments[0]);
  int64_t most =
      arguments.size() > 1 && arguments[1].is_number_integer() ? arguments[1].get<int64_t>() : -1;
  size_t at = 0;
  for (size_t found;
       !separator.empty() && most != 0 && (found = text.find(separator, at)) != std::string::npos;
       at = found + separator.size(), --most) {
    parts.push_back(text.substr(at, found - at));
  }
  parts.push_back(text.substr(at));
  return parts;
}

bool IsIn(const Json& element, const Json& list, std::string_view place) {
  if (list.is_string()) {
    return list.get_ref<const std::string&>().find(TextOf(element)) != std::string::npos;
  }
  if (list.is_object()) return element.is_string() && list.contains(element.get<std::string>());
  if (list.is_array()) return std::ranges::find(list, element) != list.end();
  if (IsUndefined(list)) return false;
  ThrowBadInput(place, "a text, list or map behind 'in'", TypeName(list));
}

Json Arithmetic(std::string_view sign, const Json& left, const Json& right,
                std::string_view place) {
  const auto is_number = [](const Json& one) { return one.is_number() || one.is_boolean(); };
  if (!is_number(left) || !is_number(right)) {
    ThrowBadInput(place, StrCat("two numbers or two texts around '", sign, "'"),
                  StrCat(TypeName(left), " and ", TypeName(right)));
  }
  const auto real = [](const Json& one) {
    return one.is_boolean() ? (one.get<bool>() ? 1.0 : 0.0) : one.get<double>();
  };
  const double a = real(left), b = real(right);
  if ((sign == "/" || sign == "//" || sign == "%") && b == 0) {
    ThrowBadInput(place, "a divisor", "0");
  }
  double value = 0;
  if (sign == "+") value = a + b;
  if (sign == "-") value = a - b;
  if (sign == "*") value = a * b;
  if (sign == "/") value = a / b;
  if (sign == "//") value = std::floor(a / b);
  if (sign == "%") value = a - b * std::floor(a / b);
  const bool is_whole = !left.is_number_float() && !right.is_number_float() && sign != "/";
  if (is_whole && std::abs(value) < 9e15) return static_cast<int64_t>(value);
  return value;
}

bool Compare(std::string_view sign, const Json& given_left, const Json& given_right,
             std::string_view place) {
  // True and False are 1 and 0 beside numbers.
  const auto as_number = [](const Json& one, const Json& other) {
    return one.is_boolean() && other.is_number() ? Json(one.get<bool>() ? 1 : 0) : one;
  };
  const Json left = as_number(given_left, given_right), right = as_number(given_right, given_left);
  if (sign == "==" || sign == "!=") {
    const bool equal = IsUndefined(left) || IsUndefined(right)
                           ? IsUndefined(left) && IsUndefined(right)
                           : left == right;
    return equal == (sign == "==");
  }
  const bool comparable =
      (left.is_number() && right.is_number()) || (left.is_string() && right.is_string());
  if (!comparable) {
    ThrowBadInput(place, StrCat("two numbers or two texts around '", sign, "'"),
                  StrCat(TypeName(left), " and ", TypeName(right)));
  }
  if (sign == "<") return left < right;
  if (sign == ">") return right < left;
  if (sign == "<=") return !(right < left);
  return !(left < right);
}

}  // namespace

Json Undefined() { return Json(Json::value_t::discarded); }
bool IsUndefined(const Json& value) { return value.is_discarded(); }

bool IsTrue(const Json& value) {
  if (IsUndefined(value) || value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

std::string TextOf(const Json& value) {
  if (IsUndefined(value)) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  std::vector<std::string> parts;
  if (value.is_array()) {
    for (const Json& one : value) parts.push_back(Repr(one));
    return StrCat("[", Join(parts, ", "), "]");
  }
  if (value.is_object()) {
    for (const auto& [key, one] : value.items())
      parts.push_back(StrCat("'", key, "': ", Repr(one)));
    return StrCat("{", Join(parts, ", "), "}");
  }
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string TypeName(const Json& value) {
  return IsUndefined(value) ? "what is not defined" : value.type_name();
}

Json ElementOf(const Json& value, const Json& key) {
  if (value.is_object() && key.is_string()) {
    const auto found = value.find(key.get<std::string>());
    return found == value.end() ? Undefined() : *found;
  }
  if (!key.is_number_integer()) return Undefined();
  auto index = key.get<int64_t>();
  if (value.is_array()) {
    const auto size = static_cast<int64_t>(value.size());
    if (index < 0) index += size;
    return index < 0 || index >= size ? Undefined() : value[static_cast<size_t>(index)];
  }
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const std::vector<size_t> starts = CharacterStarts(text);
    const auto size = static_cast<int64_t>(starts.size()) - 1;
    if (index < 0) index += size;
    if (index < 0 || index >= size) return Undefined();
    const auto at = static_cast<size_t>(index);
    return text.substr(starts[at], starts[at + 1] - starts[at]);
  }
  return Undefined();
}

Json SliceOf(const Json& value, const Json& begin, const Json& end, const Json& step,
             std::string_view place) {
  if (!value.is_array() && !value.is_string()) {
    ThrowBadInput(place, "a list or text to cut", TypeName(value));
  }
  const int64_t stride = step.is_number_integer() ? step.get<int64_t>() : 1;
  if (stride != 1 && stride != -1) ThrowBadInput(place, "a step of 1 or -1", StrCat(stride));
  const std::vector<size_t> starts = value.is_string()
                                         ? CharacterStarts(value.get_ref<const std::string&>())
                                         : std::vector<size_t>();
  const auto size = static_cast<int64_t>(value.is_string() ? starts.size() - 1 : value.size());
  const auto bound = [&](const Json& given, int64_t otherwise) {
    if (!given.is_number_integer()) return otherwise;
    const auto number = given.get<int64_t>();
    const int64_t low = stride > 0 ? 0 : -1;
    return std::clamp(number < 0 ? number + size : number, low, stride > 0 ? size : size - 1);
  };
  const int64_t from = bound(begin, stride > 0 ? 0 : size - 1);
  const int64_t to = bound(end, stride > 0 ? size : -1);
  Json list = Json::array();
  std::string text;
  for (int64_t i = from; stride > 0 ? i < to : i > to; i += stride) {
    const auto at = static_cast<size_t>(i);
    if (value.is_array()) {
      list.push_back(value[at]);
    } else {
      text += value.get_ref<const std::string&>().substr(starts[at], starts[at + 1] - starts[at]);
    }
  }
  return value.is_array() ? list : Json(text);
}

Json BinaryOf(std::string_view sign, const Json& left, const Json& right, std::string_view place) {
  if (sign == "in") return IsIn(left, right, place);
  if (sign == "not in") return !IsIn(left, right, place);
  if (sign == "~" || (sign == "+" && left.is_string() && right.is_string())) {
    std::string text = TextOf(left) + TextOf(right);
    if (text.size() > kMostText) ThrowBadInput(place, "at most 16 MiB of text", "more");
    return text;
  }
  if (sign == "+" && left.is_array() && right.is_array()) {
    Json list = left;
    for (const Json& one : right) list.push_back(one);
    return list;
  }
  if (sign == "==" || sign == "!=" || sign[0] == '<' || sign[0] == '>') {
    return Compare(sign, left, right, place);
  }
  return Arithmetic(sign, left, right, place);
}

Json FilterOf(std::string_view name, const Json& value, const std::vector<Json>& arguments,
              std::string_view place) {
  if (name == "trim") return Stripped(TextOf(value), kBlanks, true, true);
  if (name == "upper" || name == "lower") return Cased(TextOf(value), name == "upper");
  if (name == "string" || name == "safe") return TextOf(value);
  if (name == "length" || name == "count") {
    if (value.is_string()) {
      return CharacterStarts(value.get_ref<const std::string&>()).size() - 1;
    }
    return IsUndefined(value) ? size_t{0} : value.size();
  }
  if (name == "default" || name == "d") {
    const bool also_false = arguments.size() > 1 && IsTrue(arguments[1]);
    const bool keeps = !IsUndefined(value) && (!also_false || IsTrue(value));
    return keeps ? value : arguments.empty() ? Json("") : arguments[0];
  }
  if (name == "tojson") {
    const bool indents = !arguments.empty() && arguments[0].is_number_integer();
    const int indent =
        indents ? static_cast<int>(std::clamp<int64_t>(arguments[0].get<int64_t>(), 0, 16)) : -1;
    return value.dump(indent, ' ', false, Json::error_handler_t::replace);
  }
  if (name == "first") return ElementOf(value, 0);
  if (name == "last") return ElementOf(value, -1);
  if (name == "list") {
    if (value.is_array()) return value;
    Json list = Json::array();
    if (value.is_object()) {
      for (const auto& [key, one] : value.items()) list.push_back(key);
    }
    return list;
  }
  if (name == "join") {
    std::vector<std::string> parts;
    for (const Json& one : value.is_array() ? value : Json::array()) parts.push_back(TextOf(one));
    return Join(parts, arguments.empty() ? "" : TextOf(arguments[0]));
  }
  if (name == "replace" && arguments.size() == 2) {
    return Replaced(TextOf(value), TextOf(arguments[0]), TextOf(arguments[1]));
  }
  if (name == "items") return MethodOf("items", value, {}, place);
  ThrowUnknownName(place, "filter of chat templates", name,
                   std::vector<std::string>{"trim", "upper", "lower", "string", "safe", "length",
                                            "count", "default", "d", "tojson", "first", "last",
                                            "list", "join", "replace", "items"});
}

bool TestOf(std::string_view name, const Json& value, std::string_view place) {
  if (name == "defined") return !IsUndefined(value);
  if (name == "undefined") return IsUndefined(value);
  if (name == "none") return value.is_null();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_object();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is_number_integer();
  if (name == "boolean") return value.is_boolean();
  if (name == "true") return value.is_boolean() && value.get<bool>();
  if (name == "false") return value.is_boolean() && !value.get<bool>();
  if (name == "iterable" || name == "sequence") {
    return value.is_array() || value.is_object() || value.is_string();
  }
  ThrowUnknownName(
      place, "test of chat templates", name,
      std::vector<std::string>{"defined", "undefined", "none", "string", "mapping", "number",
                               "integer", "boolean", "true", "false", "iterable", "sequence"});
}

Json MethodOf(std::string_view name, const Json& value, const std::vector<Json>& arguments,
              std::string_view place) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    const std::string first = arguments.empty() ? "" : TextOf(arguments[0]);
    const std::string_view signs = arguments.empty() ? kBlanks : std::string_view(first);
    if (name == "strip") return Stripped(text, signs, true, true);
    if (name == "lstrip") return Stripped(text, signs, true, false);
    if (name == "rstrip") return Stripped(text, signs, false, true);
    if (name == "upper" || name == "lower") return Cased(text, name == "upper");
    if (name == "startswith" && !arguments.empty()) return text.starts_with(first);
    if (name == "endswith" && !arguments.empty()) return text.ends_with(first);
    if (name == "split") return SplitText(text, arguments);
    if (name == "replace" && arguments.size() == 2) {
      return Replaced(text, first, TextOf(arguments[1]));
    }
  }
  if (value.is_object()) {
    if (name == "get" && !arguments.empty()) {
      const Json found = ElementOf(value, arguments[0]);
      return !IsUndefined(found) ? found : arguments.size() > 1 ? arguments[1] : Json();
    }
    Json list = Json::array();
    for (const auto& [key, one] : value.items()) {
      if (name == "items") list.push_back(Json::array({key, one}));
      if (name == "keys") list.push_back(key);
      if (name == "values") list.push_back(one);
    }
    if (name == "items" || name == "keys" || name == "values") return list;
  }
  ThrowBadInput(place, "a known method (strip, split, startswith, replace, get, items, ...)",
                StrCat("'", name, "' of ", TypeName(value)));
}

Json RangeOf(const std::vector<Json>& arguments, std::string_view place) {
  for (const Json& argument : arguments) {
    if (!argument.is_number_integer()) ThrowBadInput(place, "whole numbers", TypeName(argument));
  }
  if (arguments.empty() || arguments.size() > 2)
    ThrowBadInput(place, "range with 1 or 2 numbers", "others");
  const int64_t begin = arguments.size() == 1 ? 0 : arguments[0].get<int64_t>();
  const int64_t end = arguments.back().get<int64_t>();
  // Unsigned: the difference of two 64-bit numbers may not fit into one.
  const uint64_t count = static_cast<uint64_t>(end) - static_cast<uint64_t>(begin);
  if (end > begin && count > 100000) {
    ThrowBadInput(place, "a range of at most 100000", StrCat(begin, " to ", end));
  }
  Json list = Json::array();
  for (int64_t i = begin; i < end; ++i) list.push_back(i);
  return list;
}

}  // namespace qualm
