// Filters of texts.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

// soft_str(): a text stays what it is, other values become one.
Value Soft(Runtime& runtime, const Value& value) {
  return value.IsText() ? value : runtime.Text(ToText(runtime, value));
}

template <std::string (*function)(std::string_view)>
Value Cased(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  const Value text = Soft(runtime, self);
  return runtime.Text(function(text.Bytes()), IsMarkup(text));
}

// Words begin after white space, hyphens and opening brackets, unlike those of str.title.
Value TitleFilter(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  std::string out, word;
  const auto finish = [&] {
    const std::u32string points = PointsOf(word);
    if (points.empty()) return;
    out += Upper(BytesOf(points.substr(0, 1))) + Lower(BytesOf(points.substr(1)));
    word.clear();
  };
  for (const char32_t code : PointsOf(ToText(runtime, self))) {
    const std::string character = BytesOf(std::u32string(1, code));
    if (Is(code, kSpace) || (code < 0x80 && std::string_view("-({[<").find(static_cast<char>(
                                                code)) != std::string_view::npos)) {
      finish();
      out += character;
    } else {
      word += character;
    }
  }
  finish();
  return runtime.Text(std::move(out));
}

Value Trim(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value text = Soft(runtime, self);
  std::u32string set;
  const bool has_set = !a[0].IsAbsent() && !a[0].IsNone();
  if (has_set) set = PointsOf(TextArgument(runtime, a[0], "chars"));
  return runtime.Text(std::string(Strip(text.Bytes(), has_set ? &set : nullptr, true, true)),
                      IsMarkup(text));
}

Value Center(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value text = Soft(runtime, self);
  const int64_t width = IntArgument(runtime, Or(a[0], Value::Int(80)), "width");
  return runtime.Text(CenterText(runtime, text.Bytes(), width, " "), IsMarkup(text));
}

Value Replace(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const bool is_all = a[2].IsAbsent() || a[2].IsNone();
  const int64_t most = is_all ? -1 : IntArgument(runtime, a[2], "count");
  return runtime.Text(ReplaceText(runtime, ToText(runtime, self), ToText(runtime, a[0]),
                                  ToText(runtime, a[1]), most));
}

Value String(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return Soft(runtime, self);
}

Value Format(Runtime& runtime, const Value& self, Bound&, Arguments& all) {
  if (!all.positional.empty() && !all.named.empty()) {
    runtime.Refuse("arguments by position or by name", "both");
  }
  const Value text = Soft(runtime, self);
  Value values = runtime.Tuple(all.positional);
  if (!all.named.empty()) {
    values = runtime.Dict();
    for (const auto& [name, value] : all.named) {
      SetKey(runtime, values.As<DictObject>(), runtime.Text(std::string(name)), value);
    }
  }
  return runtime.Text(PercentFormat(runtime, text.Bytes(), values, IsMarkup(text)), IsMarkup(text));
}

Value Indent(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value width = Or(a[0], Value::Int(4));
  const bool first = IsTrue(runtime, a[1]), blank = IsTrue(runtime, a[2]);
  if (self.IsUndefined()) runtime.Refuse("a text", self.As<UndefinedObject>().message);
  std::string indention;
  if (width.IsText()) {
    indention = width.Bytes();
  } else {
    const int64_t blanks = std::max<int64_t>(IntArgument(runtime, width, "width"), 0);
    runtime.Charge(static_cast<size_t>(blanks));
    indention.assign(static_cast<size_t>(blanks), ' ');
  }

  const std::vector<std::string> lines =
      SplitLines(TextArgument(runtime, self, "the value of 'indent'") + "\n", /*keeps_ends=*/false);
  std::string out = first ? indention : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indention;
    out += lines[i];
    runtime.Charge(indention.size());
  }
  return runtime.Text(std::move(out), IsMarkup(self));
}

Value Truncate(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const int64_t length = IntArgument(runtime, Or(a[0], Value::Int(255)), "length");
  const std::string end = a[2].IsAbsent() ? "..." : TextArgument(runtime, a[2], "end");
  const Value leeway = a[3].IsAbsent() || a[3].IsNone() ? Value::Int(5) : a[3];
  const auto end_size = static_cast<int64_t>(CountCharacters(end));
  if (length < end_size || IntArgument(runtime, leeway, "leeway") < 0) {
    runtime.Refuse(StrCat("a length of at least ", end_size, " and a leeway of at least 0"),
                   StrCat(length, " and ", leeway.Whole()));
  }

  const int64_t size = SizeOf(runtime, self);
  if (size < 0) runtime.Refuse("a value that has a length", TypeName(self));
  // The sum is taken the other way round: it may be larger than the largest integer.
  if (size <= length || size - length <= leeway.Whole()) return self;
  const std::u32string points = PointsOf(TextArgument(runtime, self, "the value of 'truncate'"));
  std::u32string kept = points.substr(0, static_cast<size_t>(length - end_size));
  if (!IsTrue(runtime, a[1])) kept = kept.substr(0, kept.rfind(U' '));
  return runtime.Text(BytesOf(kept) + end, IsMarkup(self));
}

Value WordCount(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  int64_t count = 0;
  bool is_inside = false;
  for (const char32_t code : PointsOf(ToText(runtime, self))) {
    const bool is_word = code == '_' || Is(code, kAlpha | kNumeric);
    if (is_word && !is_inside) ++count;
    is_inside = is_word;
  }
  return Value::Int(count);
}

Value ToJsonFilter(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  JsonStyle style;
  const Value indent = Or(a[1], Value::None());
  if (!runtime.options().is_chat) {
    // Jinja's own: keys in order, all of ASCII, and nothing that means something in HTML.
    style.ensure_ascii = style.sort_keys = true;
    style.indent = a[0].IsAbsent() ? indent : a[0];
    if (!style.indent.IsNone()) style.item_separator.assign(1, ',');
    std::string text = DumpJson(runtime, self, style);
    for (const auto& [sign, escape] : {std::pair<const char*, const char*>{"<", "\\u003c"},
                                       {">", "\\u003e"},
                                       {"&", "\\u0026"},
                                       {"'", "\\u0027"}}) {
      text = ReplaceText(runtime, text, sign, escape, -1);
    }
    return runtime.Text(std::move(text), /*is_markup=*/true);
  }

  style.ensure_ascii = IsTrue(runtime, a[0]);
  style.indent = indent;
  if (!indent.IsNone()) style.item_separator.assign(1, ',');
  if (!a[2].IsAbsent() && !a[2].IsNone()) {
    const std::vector<Value> separators = ItemsOf(runtime, a[2]);
    if (separators.size() != 2) {
      runtime.Refuse("two separators", StrCat(separators.size()));
    }
    style.item_separator = TextArgument(runtime, separators[0], "a separator");
    style.key_separator = TextArgument(runtime, separators[1], "a separator");
  }
  style.sort_keys = IsTrue(runtime, a[3]);
  return runtime.Text(DumpJson(runtime, self, style));
}

// A copy whose dicts have their keys in order.
Value WithSortedKeys(Runtime& runtime, const Value& value, int depth) {
  if (depth > kDeepestValue) runtime.Refuse("values of at most 200 levels", "more");
  runtime.Step();
  if (value.IsSequence()) {
    std::vector<Value> items;
    for (const Value& item : value.Items()) {
      items.push_back(WithSortedKeys(runtime, item, depth + 1));
    }
    return value.Is(Kind::kList) ? runtime.List(std::move(items)) : runtime.Tuple(std::move(items));
  }
  if (!value.Is(Kind::kDict)) return value;

  auto items = value.As<DictObject>().items;
  std::ranges::stable_sort(
      items, [&](const auto& a, const auto& b) { return Less(runtime, a.first, b.first); });
  const Value sorted = runtime.Dict();
  for (const auto& [key, one] : items) {
    SetKey(runtime, sorted.As<DictObject>(), key, WithSortedKeys(runtime, one, depth + 1));
  }
  return sorted;
}

// pprint.pformat of what fits into one line; how it breaks longer values is not known here.
Value PrettyPrint(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  const std::string text = Repr(runtime, WithSortedKeys(runtime, self, 0));
  if (CountCharacters(text) > 80) {
    runtime.Refuse("a value for 'pprint' that fits into 80 characters", TypeName(self));
  }
  return runtime.Text(text);
}

}  // namespace

std::span<const NativeFunction> TextFilters() {
  // ADD A FILTER of texts: its name, the arguments after the value, the function.
  static constexpr NativeFunction kFilters[] = {
      {"capitalize", "", Cased<Capitalize>},
      {"center", "width?", Center},
      {"format", "*", Format},
      {"indent", "width? first? blank?", Indent},
      {"lower", "", Cased<Lower>},
      {"pprint", "", PrettyPrint},
      {"replace", "old new count?", Replace},
      {"string", "", String},
      {"title", "", TitleFilter},
      {"tojson", "ensure_ascii? indent? separators? sort_keys?", ToJsonFilter},
      {"trim", "chars?", Trim},
      {"truncate", "length? killwords? end? leeway?", Truncate},
      {"upper", "", Cased<Upper>},
      {"wordcount", "", WordCount},
      {"wordwrap", "width? break_long_words? wrapstring? break_on_hyphens?", WordWrap},
  };
  return kFilters;
}

}  // namespace qualm::jinja
