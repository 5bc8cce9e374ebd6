// The methods of texts: those of Python's str. Those of markup give markup again.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

Value Same(Runtime& runtime, const Value& self, std::string text) {
  return runtime.Text(std::move(text), IsMarkup(self));
}

template <std::string (*function)(std::string_view)>
Value Cased(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return Same(runtime, self, function(self.Bytes()));
}

template <bool left, bool right>
Value StripMethod(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  std::u32string set;
  const bool has_set = !a[0].IsAbsent() && !a[0].IsNone();
  if (has_set) set = PointsOf(TextArgument(runtime, a[0], "chars"));
  return Same(runtime, self,
              std::string(Strip(self.Bytes(), has_set ? &set : nullptr, left, right)));
}

// --- parts

template <bool from_right>
Value SplitMethod(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const bool has_separator = !a[0].IsAbsent() && !a[0].IsNone();
  std::string separator;
  if (has_separator) {
    separator = TextArgument(runtime, a[0], "separator");
    if (separator.empty()) runtime.Refuse("a separator that is not empty", "''");
  }
  const int64_t most = IntArgument(runtime, Or(a[1], Value::Int(-1)), "maxsplit");
  runtime.Charge(self.Bytes().size());
  std::vector<Value> parts;
  for (std::string& part :
       SplitText(self.Bytes(), has_separator ? &separator : nullptr, most, from_right)) {
    parts.push_back(Same(runtime, self, std::move(part)));
  }
  return runtime.List(std::move(parts));
}

Value SplitLinesMethod(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  std::vector<Value> lines;
  for (std::string& line : SplitLines(self.Bytes(), IsTrue(runtime, a[0]))) {
    lines.push_back(Same(runtime, self, std::move(line)));
  }
  return runtime.List(std::move(lines));
}

template <bool from_right>
Value Partition(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::string separator = TextArgument(runtime, a[0], "separator");
  if (separator.empty()) runtime.Refuse("a separator that is not empty", "''");
  const std::string& text = self.Bytes();
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  const bool is_found = at != std::string::npos;
  std::string parts[3];
  if (is_found) {
    parts[0] = text.substr(0, at);
    parts[1] = separator;
    parts[2] = text.substr(at + separator.size());
  } else {
    parts[from_right ? 2 : 0] = text;
  }
  return runtime.Tuple({Same(runtime, self, parts[0]), Same(runtime, self, parts[1]),
                        Same(runtime, self, parts[2])});
}

Value RemovePrefix(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::string prefix = TextArgument(runtime, a[0], "prefix");
  const bool has_it = self.Bytes().starts_with(prefix);
  return Same(runtime, self, self.Bytes().substr(has_it ? prefix.size() : 0));
}

Value RemoveSuffix(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::string suffix = TextArgument(runtime, a[0], "suffix");
  const bool has_it = self.Bytes().ends_with(suffix);
  return Same(runtime, self,
              self.Bytes().substr(0, self.Bytes().size() - (has_it ? suffix.size() : 0)));
}

// --- searching, in code points

// The part of the text that the arguments start and end leave; `offset` is where it begins. False
// if there is none, not even an empty one.
bool PartOf(Runtime& runtime, const Value& self, const Value& start, const Value& end,
            std::u32string* part, int64_t* offset) {
  *part = PointsOf(self.Bytes());
  runtime.Step(1 + part->size() / 16);
  const auto size = static_cast<int64_t>(part->size());
  const auto place = [&](const Value& one, int64_t otherwise) {
    if (one.IsAbsent() || one.IsNone()) return otherwise;
    const int64_t at = IntArgument(runtime, one, "a place in a text");
    return at < 0 ? std::max<int64_t>(at + size, 0) : at;
  };
  *offset = place(start, 0);
  const int64_t stop = std::min(place(end, size), size);
  if (*offset > stop) return false;
  *part = part->substr(static_cast<size_t>(*offset), static_cast<size_t>(stop - *offset));
  return true;
}

template <bool from_right, bool must_find>
Value Find(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::u32string wanted = PointsOf(TextArgument(runtime, a[0], "what to find"));
  std::u32string part;
  int64_t offset = 0;
  size_t at = std::u32string::npos;
  if (PartOf(runtime, self, a[1], a[2], &part, &offset)) {
    at = from_right ? part.rfind(wanted) : part.find(wanted);
  }
  if (at != std::u32string::npos) return Value::Int(offset + static_cast<int64_t>(at));
  if (must_find) runtime.Refuse("a text that contains another", Repr(runtime, a[0]));
  return Value::Int(-1);
}

Value Count(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::u32string wanted = PointsOf(TextArgument(runtime, a[0], "what to count"));
  std::u32string part;
  int64_t offset = 0, count = 0;
  if (!PartOf(runtime, self, a[1], a[2], &part, &offset)) return Value::Int(0);
  if (wanted.empty()) return Value::Int(static_cast<int64_t>(part.size()) + 1);
  for (size_t at = part.find(wanted); at != std::u32string::npos;
       at = part.find(wanted, at + wanted.size())) {
    ++count;
  }
  return Value::Int(count);
}

// One text or a tuple of them.
template <bool at_end>
Value HasEnd(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  std::u32string part;
  int64_t offset = 0;
  const bool is_there = PartOf(runtime, self, a[1], a[2], &part, &offset);
  if (!a[0].IsText() && !a[0].Is(Kind::kTuple)) {
    runtime.Refuse("a text or a tuple of texts to look for", TypeName(a[0]));
  }
  const std::vector<Value> wanted = a[0].IsText() ? std::vector<Value>{a[0]} : a[0].Items();
  for (const Value& one : wanted) {
    const std::u32string end = PointsOf(TextArgument(runtime, one, "what to look for"));
    if (is_there && (at_end ? part.ends_with(end) : part.starts_with(end))) {
      return Value::Bool(true);
    }
  }
  return Value::Bool(false);
}

// --- other texts

Value ReplaceMethod(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::string old = TextArgument(runtime, a[0], "what to replace");
  TextArgument(runtime, a[1], "the replacement");
  const std::string replacement = IsMarkup(self) ? EscapeHtml(runtime, a[1]) : a[1].Bytes();
  const int64_t most = IntArgument(runtime, Or(a[2], Value::Int(-1)), "count");
  return Same(runtime, self, ReplaceText(runtime, self.Bytes(), old, replacement, most));
}

Value JoinMethod(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  std::string text;
  bool is_first = true;
  for (const Value& item : ItemsOf(runtime, a[0])) {
    if (!IsMarkup(self)) TextArgument(runtime, item, "an element to join");
    const std::string piece = IsMarkup(self) ? EscapeHtml(runtime, item) : item.Bytes();
    runtime.Charge(piece.size() + self.Bytes().size());
    if (!std::exchange(is_first, false)) text += self.Bytes();
    text += piece;
  }
  return Same(runtime, self, std::move(text));
}

Value FormatMethod(Runtime& runtime, const Value& self, Bound&, Arguments& all) {
  return Same(runtime, self, BraceFormat(runtime, self.Bytes(), all, IsMarkup(self)));
}

Value FormatMap(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  if (!a[0].Is(Kind::kDict)) runtime.Refuse("a dict for 'format_map'", TypeName(a[0]));
  Arguments all;
  for (const auto& [key, value] : a[0].As<DictObject>().items) {
    if (key.IsText()) all.named.emplace_back(key.Bytes(), value);
  }
  return Same(runtime, self, BraceFormat(runtime, self.Bytes(), all, IsMarkup(self)));
}

std::string FillOf(Runtime& runtime, const Value& given) {
  const std::string fill = given.IsAbsent() ? " " : TextArgument(runtime, given, "fillchar");
  if (CountCharacters(fill) != 1) runtime.Refuse("one character to fill with", fill);
  return fill;
}

Value CenterMethod(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const int64_t width = IntArgument(runtime, a[0], "width");
  return Same(runtime, self, CenterText(runtime, self.Bytes(), width, FillOf(runtime, a[1])));
}

template <bool fills_left>
Value Justify(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const int64_t width = IntArgument(runtime, a[0], "width");
  const std::string fill = FillOf(runtime, a[1]);
  const auto size = static_cast<int64_t>(CountCharacters(self.Bytes()));
  std::string filling;
  if (width > size) runtime.Charge(static_cast<size_t>(width - size) * fill.size());
  for (int64_t i = size; i < width; ++i) filling += fill;
  return Same(runtime, self, fills_left ? filling + self.Bytes() : self.Bytes() + filling);
}

Value ZeroFill(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const int64_t width = IntArgument(runtime, a[0], "width");
  const auto size = static_cast<int64_t>(CountCharacters(self.Bytes()));
  std::string text = self.Bytes();
  if (width > size) {
    runtime.Charge(static_cast<size_t>(width - size));
    const bool has_sign = text.starts_with('-') || text.starts_with('+');
    text.insert(has_sign ? 1 : 0, static_cast<size_t>(width - size), '0');
  }
  return Same(runtime, self, std::move(text));
}

Value ExpandTabs(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const int64_t width = IntArgument(runtime, Or(a[0], Value::Int(8)), "tabsize");
  std::string out;
  int64_t column = 0;
  for (const char32_t code : PointsOf(self.Bytes())) {
    if (code == '\t') {
      const int64_t blanks = width > 0 ? width - column % width : 0;
      runtime.Charge(static_cast<size_t>(blanks));
      out.append(static_cast<size_t>(blanks), ' ');
      column += blanks;
      continue;
    }
    column = code == '\n' || code == '\r' ? 0 : column + 1;
    AppendUtf8(code, out);
  }
  return Same(runtime, self, std::move(out));
}

Value Unsupported(Runtime& runtime, const Value&, Bound&, Arguments&) {
  runtime.Refuse("a method of texts that is supported here",
                 "one of 'encode', 'maketrans' and 'translate'");
}

}  // namespace

std::span<const NativeFunction> TextMethods() {
  // ADD A METHOD of texts: its name, its arguments, the function.
  static constexpr NativeFunction kMethods[] = {
      {"capitalize", "", Cased<Capitalize>},
      {"casefold", "", Cased<Fold>},
      {"center", "/ width fillchar?", CenterMethod},
      {"count", "/ sub start? end?", Count},
      {"encode", "*", Unsupported},
      {"endswith", "/ suffix start? end?", HasEnd<true>},
      {"expandtabs", "tabsize?", ExpandTabs},
      {"find", "/ sub start? end?", Find<false, false>},
      {"format", "*", FormatMethod},
      {"format_map", "/ mapping", FormatMap},
      {"index", "/ sub start? end?", Find<false, true>},
      {"join", "/ iterable", JoinMethod},
      {"ljust", "/ width fillchar?", Justify<false>},
      {"lower", "", Cased<Lower>},
      {"lstrip", "/ chars?", StripMethod<true, false>},
      {"maketrans", "*", Unsupported},
      {"partition", "/ sep", Partition<false>},
      {"removeprefix", "/ prefix", RemovePrefix},
      {"removesuffix", "/ suffix", RemoveSuffix},
      {"replace", "/ old new count?", ReplaceMethod},
      {"rfind", "/ sub start? end?", Find<true, false>},
      {"rindex", "/ sub start? end?", Find<true, true>},
      {"rjust", "/ width fillchar?", Justify<true>},
      {"rpartition", "/ sep", Partition<true>},
      {"rsplit", "sep? maxsplit?", SplitMethod<true>},
      {"rstrip", "/ chars?", StripMethod<false, true>},
      {"split", "sep? maxsplit?", SplitMethod<false>},
      {"splitlines", "keepends?", SplitLinesMethod},
      {"startswith", "/ prefix start? end?", HasEnd<false>},
      {"strip", "/ chars?", StripMethod<true, true>},
      {"swapcase", "", Cased<SwapCase>},
      {"title", "", Cased<Title>},
      {"translate", "*", Unsupported},
      {"upper", "", Cased<Upper>},
      {"zfill", "/ width", ZeroFill},
  };
  return kMethods;
}

}  // namespace qualm::jinja
