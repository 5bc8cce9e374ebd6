// Filters that have to do with HTML and addresses. Nothing is escaped of itself: a text that safe
// or escape made is markup, and only joining it with other texts escapes those.
#include <algorithm>
#include <charconv>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Value EscapeFilter(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return runtime.Text(EscapeHtml(runtime, self), /*is_markup=*/true);
}

Value Safe(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return runtime.Text(ToText(runtime, self), /*is_markup=*/true);
}

// --- striptags

// Without everything from `begin` to the `end` after it.
std::string Without(Runtime& runtime, std::string text, std::string_view begin,
                    std::string_view end) {
  size_t from = 0;
  std::string out;
  while (true) {
    const size_t open = text.find(begin, from);
    const size_t close = open == std::string::npos ? open : text.find(end, open);
    if (close == std::string::npos) break;
    runtime.Step();
    out += text.substr(from, open - from);
    from = close + end.size();
  }
  return out + text.substr(from);
}

// "&lt;", "&#60;" and "&#x3c;" as characters.
std::string Unescaped(Runtime& runtime, const std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", "\u00a0"}};
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t end = text[i] == '&' ? text.find(';', i) : std::string::npos;
    if (end == std::string::npos || end - i > 32) {
      out += text[i];
      continue;
    }
    const std::string_view name = std::string_view(text).substr(i + 1, end - i - 1);
    const auto known =
        std::ranges::find(kNames, name, &std::pair<std::string_view, std::string_view>::first);
    uint32_t code = 0;
    const bool is_hex = name.starts_with("#x") || name.starts_with("#X");
    const char* begin = name.data() + (is_hex ? 2 : 1);
    if (known != std::end(kNames)) {
      out += known->second;
    } else if (name.starts_with('#') && name.size() > 1 &&
               std::from_chars(begin, name.data() + name.size(), code, is_hex ? 16 : 10).ptr ==
                   name.data() + name.size() &&
               code >= 0x20 && code < 0x110000 && (code < 0x7f || code > 0x9f) &&
               (code < 0xd800 || code > 0xdfff)) {
      AppendUtf8(code, out);
    } else {
      runtime.Refuse("entities of HTML that are known here", StrCat("'&", name, ";'"));
    }
    i = end;
  }
  return out;
}

Value StripTags(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  std::string text = Without(runtime, ToText(runtime, self), "<!--", "-->");
  text = Without(runtime, std::move(text), "<", ">");
  const std::vector<std::string> words = SplitText(text, nullptr, -1, /*from_right=*/false);
  return runtime.Text(Unescaped(runtime, Join(words, " ")));
}

// --- addresses

std::string Quoted(std::string_view text, bool is_query) {
  std::string out;
  for (const char c : text) {
    const bool is_letter =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (is_letter || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !is_query)) {
      out += c;
    } else if (c == ' ' && is_query) {
      out += '+';
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out;
}

Value UrlEncode(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  if (self.IsText() || !IsIterable(self)) return runtime.Text(Quoted(ToText(runtime, self), false));

  std::vector<std::string> pairs;
  const auto add = [&](const Value& key, const Value& value) {
    pairs.push_back(
        StrCat(Quoted(ToText(runtime, key), true), "=", Quoted(ToText(runtime, value), true)));
  };
  if (self.Is(Kind::kDict)) {
    for (const auto& [key, value] : self.As<DictObject>().items) add(key, value);
  } else {
    for (const Value& one : ItemsOf(runtime, self)) {
      const std::vector<Value> pair = ItemsOf(runtime, one);
      if (pair.size() != 2) runtime.Refuse("pairs to encode", StrCat(pair.size(), " values"));
      add(pair[0], pair[1]);
    }
  }
  return runtime.Text(Join(pairs, "&"));
}

Value XmlAttributes(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  if (!self.Is(Kind::kDict)) runtime.Refuse("a dict for 'xmlattr'", TypeName(self));
  std::vector<std::string> attributes;
  for (const auto& [key, value] : self.As<DictObject>().items) {
    if (value.IsNone() || value.IsUndefined()) continue;
    const std::string name = TextArgument(runtime, key, "the name of an attribute");
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      runtime.Refuse("names of attributes without blanks, '/', '>' and '='", name);
    }
    attributes.push_back(StrCat(EscapeHtml(runtime, key), "=\"", EscapeHtml(runtime, value), "\""));
  }
  const std::string text = Join(attributes, " ");
  const bool has_space = a[0].IsAbsent() || IsTrue(runtime, a[0]);
  return runtime.Text(has_space && !text.empty() ? StrCat(" ", text) : text);
}

Value RefuseUrlize(Runtime& runtime, const Value&, Bound&, Arguments&) {
  runtime.Refuse("a filter that is supported here", "'urlize'");
}

}  // namespace

std::string EscapeHtml(Runtime& runtime, const Value& value) {
  if (IsMarkup(value)) return value.Bytes();
  const std::string text = ToText(runtime, value);
  runtime.Charge(6 * text.size());
  return Escaped(text);
}

std::span<const NativeFunction> HtmlFilters() {
  static constexpr NativeFunction kFilters[] = {
      {"e", "", EscapeFilter},
      {"escape", "", EscapeFilter},
      {"forceescape", "",
       [](Runtime& runtime, const Value& self, Bound&, Arguments&) {
         return runtime.Text(Escaped(ToText(runtime, self)), /*is_markup=*/true);
       }},
      {"safe", "", Safe},
      {"striptags", "", StripTags},
      {"urlencode", "", UrlEncode},
      {"urlize", "*", RefuseUrlize},
      {"xmlattr", "autospace?", XmlAttributes},
  };
  return kFilters;
}

}  // namespace qualm::jinja
