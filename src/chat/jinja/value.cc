// What Python does with values whatever they are: type names, truth, equality, order, keys of
// dicts, iteration.
#include "chat/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "chat/jinja/runtime.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

// A dict of fewer keys is searched from the front.
constexpr size_t kSmallDict = 8;

// -1, 0 or 1; 2 if `real` is not a number.
int CompareIntToReal(int64_t whole, double real) {
  constexpr double kTwoTo63 = 9223372036854775808.0;
  if (std::isnan(real)) return 2;
  if (real >= kTwoTo63) return -1;
  if (real < -kTwoTo63) return 1;

  const auto floor = static_cast<int64_t>(std::floor(real));
  if (whole != floor) return whole < floor ? -1 : 1;
  return std::floor(real) < real ? -1 : 0;
}

int CompareNumbers(const Value& a, const Value& b) {
  if (a.IsWhole() && b.IsWhole()) {
    return a.Whole() < b.Whole() ? -1 : a.Whole() > b.Whole() ? 1 : 0;
  }
  if (a.IsWhole()) return CompareIntToReal(a.Whole(), b.real);
  if (b.IsWhole()) {
    const int turned = CompareIntToReal(b.Whole(), a.real);
    return turned == 2 ? 2 : -turned;
  }
  if (std::isnan(a.real) || std::isnan(b.real)) return 2;
  return a.real < b.real ? -1 : a.real > b.real ? 1 : 0;
}

void CheckDepth(const Runtime& runtime, int depth) {
  if (depth > kDeepestValue) runtime.Refuse("values of at most 200 levels", "more");
}

size_t HashOf(Runtime& runtime, const Value& value, int depth = 0) {
  CheckDepth(runtime, depth);
  runtime.Step();
  if (value.IsWhole()) return std::hash<int64_t>()(value.Whole());
  if (value.Is(Kind::kFloat)) {
    const bool is_whole = std::fabs(value.real) < 9e18 && value.real == std::floor(value.real);
    return is_whole ? std::hash<int64_t>()(static_cast<int64_t>(value.real))
                    : std::hash<double>()(value.real);
  }
  if (value.IsText()) {
    runtime.Step(value.Bytes().size() / kBytesPerStep);
    return std::hash<std::string>()(value.Bytes());
  }
  if (!value.Is(Kind::kTuple)) return static_cast<size_t>(value.kind);

  size_t hash = 17;
  for (const Value& one : value.Items()) hash = hash * 31 + HashOf(runtime, one, depth + 1);
  return hash;
}

// Where the key is in dict.items, or their number.
size_t PlaceOf(Runtime& runtime, const DictObject& dict, const Value& key) {
  if (!IsHashable(key)) runtime.Refuse("a key that can be hashed", TypeName(key));
  if (dict.items.size() <= kSmallDict) {
    for (size_t i = 0; i < dict.items.size(); ++i) {
      if (Equal(runtime, dict.items[i].first, key)) return i;
    }
    return dict.items.size();
  }
  const auto [begin, end] = dict.index.equal_range(HashOf(runtime, key));
  for (auto at = begin; at != end; ++at) {
    if (Equal(runtime, dict.items[at->second].first, key)) return at->second;
  }
  return dict.items.size();
}

void Reindex(Runtime& runtime, DictObject& dict) {
  dict.index.clear();
  if (dict.items.size() <= kSmallDict) return;
  for (size_t i = 0; i < dict.items.size(); ++i) {
    dict.index.emplace(HashOf(runtime, dict.items[i].first), i);
  }
}

bool EqualItems(Runtime& runtime, const std::vector<Value>& a, const std::vector<Value>& b,
                int depth) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Equal(runtime, a[i], b[i], depth + 1)) return false;
  }
  return true;
}

bool EqualDicts(Runtime& runtime, const DictObject& a, const DictObject& b, int depth) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = FindKey(runtime, b, key);
    if (other == nullptr || !Equal(runtime, value, *other, depth + 1)) return false;
  }
  return true;
}

// Keys and items of dicts are equal as sets; other views only if they are the same one.
bool EqualViews(Runtime& runtime, const Value& a, const Value& b) {
  const auto part = a.As<ViewObject>().part;
  if (a.object == b.object) return true;
  if (part == ViewObject::Part::kValues || part != b.As<ViewObject>().part) return false;
  if (SizeOf(runtime, a) != SizeOf(runtime, b)) return false;
  for (const Value& one : ItemsOf(runtime, a)) {
    if (!Contains(runtime, b, one)) return false;
  }
  return true;
}

bool EqualRanges(const RangeObject& a, const RangeObject& b) {
  const int64_t size = a.Size();
  if (size != b.Size()) return false;
  return size == 0 || (a.start == b.start && (size == 1 || a.step == b.step));
}

}  // namespace

int64_t RangeObject::Size() const {
  // Unsigned: the difference of two 64-bit numbers may not fit into one.
  const auto begin = static_cast<uint64_t>(start), end = static_cast<uint64_t>(stop);
  if (step > 0) {
    if (start >= stop) return 0;
    return static_cast<int64_t>((end - begin - 1) / static_cast<uint64_t>(step) + 1);
  }
  if (start <= stop) return 0;
  return static_cast<int64_t>((begin - end - 1) / (0 - static_cast<uint64_t>(step)) + 1);
}

Value Arena::MakeText(std::string bytes, bool is_markup) {
  auto* text = Make<TextObject>();
  text->characters = CountCharacters(bytes);
  text->bytes = std::move(bytes);
  text->is_markup = is_markup;
  return Value::Of(Kind::kText, text);
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string_view TypeName(const Value& value) {
  switch (value.kind) {
    case Kind::kAbsent:
      return "nothing";
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kText:
      return IsMarkup(value) ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kView: {
      const auto part = value.As<ViewObject>().part;
      return part == ViewObject::Part::kKeys     ? "dict_keys"
             : part == ViewObject::Part::kValues ? "dict_values"
                                                 : "dict_items";
    }
    case Kind::kIterator:
      return "generator";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kMacro:
      return "Macro";
    case Kind::kFunction:
      return "function";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kCycler:
      return "Cycler";
    case Kind::kJoiner:
      return "Joiner";
  }
  return "";
}

bool IsTrue(Runtime& runtime, const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      if (runtime.options().strict_undefined) {
        runtime.Refuse("a defined value", value.As<UndefinedObject>().message);
      }
      return false;
    case Kind::kAbsent:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.truth;
    case Kind::kInt:
      return value.integer != 0;
    case Kind::kFloat:
      return value.real != 0;
    case Kind::kText:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kLoop:
      return SizeOf(runtime, value) != 0;
    default:
      return true;
  }
}

bool Equal(Runtime& runtime, const Value& a, const Value& b, int depth) {
  runtime.Step();
  CheckDepth(runtime, depth);
  for (const Value* one : {&a, &b}) {
    if (one->IsUndefined() && runtime.options().strict_undefined) {
      runtime.Refuse("a defined value", one->As<UndefinedObject>().message);
    }
  }
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == 0;
  if (a.kind != b.kind) return false;

  switch (a.kind) {
    case Kind::kAbsent:
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kText:
      if (a.Bytes().size() != b.Bytes().size()) return false;
      runtime.Step(a.Bytes().size() / kBytesPerStep);
      return a.Bytes() == b.Bytes();
    case Kind::kList:
    case Kind::kTuple:
      return a.object == b.object || EqualItems(runtime, a.Items(), b.Items(), depth);
    case Kind::kDict:
      return a.object == b.object ||
             EqualDicts(runtime, a.As<DictObject>(), b.As<DictObject>(), depth);
    case Kind::kView:
      return EqualViews(runtime, a, b);
    case Kind::kRange:
      return EqualRanges(a.As<RangeObject>(), b.As<RangeObject>());
    default:
      return a.object == b.object;
  }
}

bool Less(Runtime& runtime, const Value& a, const Value& b, int depth) {
  runtime.Step();
  CheckDepth(runtime, depth);
  if (a.IsNumber() && b.IsNumber()) return CompareNumbers(a, b) == -1;
  // The order of UTF-8 bytes is that of code points.
  if (a.IsText() && b.IsText()) {
    runtime.Step(std::min(a.Bytes().size(), b.Bytes().size()) / kBytesPerStep);
    return a.Bytes() < b.Bytes();
  }

  if (a.IsSequence() && a.kind == b.kind) {
    const auto &left = a.Items(), &right = b.Items();
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!Equal(runtime, left[i], right[i], depth + 1)) {
        return Less(runtime, left[i], right[i], depth + 1);
      }
    }
    return left.size() < right.size();
  }
  for (const Value* one : {&a, &b}) {
    if (one->IsUndefined()) runtime.Refuse("a value", one->As<UndefinedObject>().message);
  }
  runtime.Refuse("values that have an order", StrCat(TypeName(a), " and ", TypeName(b)));
}

bool IsHashable(const Value& value) {
  if (value.Is(Kind::kTuple)) return std::ranges::all_of(value.Items(), IsHashable);
  return !value.Is(Kind::kList) && !value.Is(Kind::kDict) && !value.Is(Kind::kView);
}

const Value* FindKey(Runtime& runtime, const DictObject& dict, const Value& key) {
  const size_t place = PlaceOf(runtime, dict, key);
  return place == dict.items.size() ? nullptr : &dict.items[place].second;
}

void SetKey(Runtime& runtime, DictObject& dict, const Value& key, const Value& value) {
  const size_t place = PlaceOf(runtime, dict, key);
  if (place < dict.items.size()) {
    dict.items[place].second = value;
    return;
  }

  runtime.Charge(4 * sizeof(Value));
  dict.items.emplace_back(key, value);
  if (dict.items.size() > kSmallDict + 1) {
    dict.index.emplace(HashOf(runtime, key), place);
  } else {
    Reindex(runtime, dict);
  }
}

bool EraseKey(Runtime& runtime, DictObject& dict, const Value& key) {
  const size_t place = PlaceOf(runtime, dict, key);
  if (place == dict.items.size()) return false;
  runtime.Step(dict.items.size());
  dict.items.erase(dict.items.begin() + static_cast<ptrdiff_t>(place));
  Reindex(runtime, dict);
  return true;
}

bool IsIterable(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kText:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator:
      return true;
    default:
      return false;
  }
}

Cursor CursorOf(Runtime& runtime, const Value& value) {
  if (!IsIterable(value)) runtime.Refuse("a value to go through", TypeName(value));
  if (value.IsUndefined() && runtime.options().strict_undefined) {
    runtime.Refuse("a defined value", value.As<UndefinedObject>().message);
  }
  return {value, 0};
}

bool Next(Runtime& runtime, Cursor& cursor, Value* element) {
  runtime.Step();
  const Value& source = cursor.source;
  const size_t at = cursor.at;
  if (source.IsText()) {
    const std::string_view rest = std::string_view(source.Bytes()).substr(at);
    if (rest.empty()) return false;
    const size_t length = CharacterLength(rest);
    *element = runtime.Text(std::string(rest.substr(0, length)));
    cursor.at += length;
    return true;
  }

  ++cursor.at;
  if (source.IsSequence()) {
    if (at >= source.Items().size()) return false;
    *element = source.Items()[at];
  } else if (source.Is(Kind::kDict)) {
    const auto& items = source.As<DictObject>().items;
    if (at >= items.size()) return false;
    *element = items[at].first;
  } else if (source.Is(Kind::kView)) {
    const auto& view = source.As<ViewObject>();
    if (at >= view.dict->items.size()) return false;
    const auto& [key, value] = view.dict->items[at];
    *element = view.part == ViewObject::Part::kKeys     ? key
               : view.part == ViewObject::Part::kValues ? value
                                                        : runtime.Tuple({key, value});
  } else if (source.Is(Kind::kRange)) {
    const auto& range = source.As<RangeObject>();
    if (static_cast<int64_t>(at) >= range.Size()) return false;
    *element = Value::Int(range.start + static_cast<int64_t>(at) * range.step);
  } else if (source.Is(Kind::kIterator)) {
    auto& iterator = source.As<IteratorObject>();
    if (iterator.next >= iterator.items.size()) return false;
    *element = iterator.items[iterator.next++];
  } else {
    return false;
  }
  return true;
}

int64_t SizeOf(Runtime& runtime, const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
      if (runtime.options().strict_undefined) {
        runtime.Refuse("a defined value", value.As<UndefinedObject>().message);
      }
      return 0;
    case Kind::kText:
      return static_cast<int64_t>(value.As<TextObject>().characters);
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.Items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.As<DictObject>().items.size());
    case Kind::kRange:
      return value.As<RangeObject>().Size();
    case Kind::kView:
      return static_cast<int64_t>(value.As<ViewObject>().dict->items.size());
    case Kind::kLoop:
      return runtime.LoopSize(value);
    default:
      return -1;
  }
}

std::vector<Value> ItemsOf(Runtime& runtime, const Value& value) {
  Cursor cursor = CursorOf(runtime, value);
  std::vector<Value> items;
  Value element;
  while (Next(runtime, cursor, &element)) {
    runtime.Charge(sizeof(Value));
    items.push_back(element);
  }
  return items;
}

}  // namespace qualm::jinja
