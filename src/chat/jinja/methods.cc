// The methods of lists, tuples, dicts, loops and the like, and the way to those of texts.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "chat/jinja/evaluator.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

// --- lists and tuples

Value IndexOf(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const auto& items = self.Items();
  const auto size = static_cast<int64_t>(items.size());
  const auto place = [&](const Value& one, int64_t otherwise) {
    if (one.IsAbsent()) return otherwise;
    const int64_t at = IntArgument(runtime, one, "a place in a list");
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  for (int64_t i = place(a[1], 0); i < place(a[2], size); ++i) {
    if (Equal(runtime, items[static_cast<size_t>(i)], a[0])) return Value::Int(i);
  }
  runtime.Refuse("a list that contains the value", Repr(runtime, a[0]));
}

Value CountOf(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  int64_t count = 0;
  for (const Value& item : self.Items()) count += Equal(runtime, item, a[0]) ? 1 : 0;
  return Value::Int(count);
}

// Of a range: its elements are numbers.
Value CountInRange(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  return Value::Int(Contains(runtime, self, a[0]) ? 1 : 0);
}

Value IndexInRange(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  if (!a[0].IsWhole() || !Contains(runtime, self, a[0])) {
    runtime.Refuse("a range that contains the value", Repr(runtime, a[0]));
  }
  const auto& range = self.As<RangeObject>();
  return Value::Int((a[0].Whole() - range.start) / range.step);
}

Value CopyList(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return runtime.List(self.Items());
}

// --- dicts

Value Get(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value* found = FindKey(runtime, self.As<DictObject>(), a[0]);
  return found != nullptr ? *found : Or(a[1], Value::None());
}

template <ViewObject::Part part>
Value ViewOf(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  auto* view = runtime.New<ViewObject>();
  view->part = part;
  view->dict = &self.As<DictObject>();
  return Value::Of(Kind::kView, view);
}

Value CopyDict(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  const Value copy = runtime.Dict();
  for (const auto& [key, value] : self.As<DictObject>().items) {
    SetKey(runtime, copy.As<DictObject>(), key, value);
  }
  return copy;
}

// --- what changes lists and dicts, outside of the sandbox

Value Append(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  runtime.Charge(sizeof(Value));
  self.Items().push_back(a[0]);
  return Value::None();
}

Value Extend(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::vector<Value> more = ItemsOf(runtime, a[0]);
  self.Items().insert(self.Items().end(), more.begin(), more.end());
  return Value::None();
}

Value Insert(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const auto size = static_cast<int64_t>(self.Items().size());
  const int64_t at = IntArgument(runtime, a[0], "a place in a list");
  const int64_t place = std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  runtime.Charge(sizeof(Value));
  runtime.Step(1 + static_cast<uint64_t>(size) / 16);
  self.Items().insert(self.Items().begin() + static_cast<ptrdiff_t>(place), a[1]);
  return Value::None();
}

Value PopItem(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  auto& items = self.Items();
  const auto size = static_cast<int64_t>(items.size());
  int64_t at = IntArgument(runtime, Or(a[0], Value::Int(-1)), "a place in a list");
  if (at < 0) at += size;
  if (at < 0 || at >= size) runtime.Refuse(StrCat("a place in a list of ", size), StrCat(at));
  const Value popped = items[static_cast<size_t>(at)];
  runtime.Step(1 + static_cast<uint64_t>(size) / 16);
  items.erase(items.begin() + static_cast<ptrdiff_t>(at));
  return popped;
}

Value Remove(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  auto& items = self.Items();
  for (auto at = items.begin(); at != items.end(); ++at) {
    if (!Equal(runtime, *at, a[0])) continue;
    items.erase(at);
    return Value::None();
  }
  runtime.Refuse("a list that contains the value", Repr(runtime, a[0]));
}

Value ClearList(Runtime&, const Value& self, Bound&, Arguments&) {
  self.Items().clear();
  return Value::None();
}

Value ReverseList(Runtime&, const Value& self, Bound&, Arguments&) {
  std::ranges::reverse(self.Items());
  return Value::None();
}

Value SortList(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const bool is_reversed = IsTrue(runtime, a[0]);
  std::ranges::stable_sort(self.Items(), [&](const Value& x, const Value& y) {
    return is_reversed ? Less(runtime, y, x) : Less(runtime, x, y);
  });
  return Value::None();
}

Value ClearDict(Runtime&, const Value& self, Bound&, Arguments&) {
  self.As<DictObject>().items.clear();
  self.As<DictObject>().index.clear();
  return Value::None();
}

Value PopKey(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value* found = FindKey(runtime, self.As<DictObject>(), a[0]);
  if (found == nullptr) {
    if (a[1].IsAbsent()) runtime.Refuse("a key of the dict", Repr(runtime, a[0]));
    return a[1];
  }
  const Value popped = *found;
  EraseKey(runtime, self.As<DictObject>(), a[0]);
  return popped;
}

Value PopLast(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  auto& dict = self.As<DictObject>();
  if (dict.items.empty()) runtime.Refuse("a dict that is not empty", "an empty one");
  const auto [key, value] = dict.items.back();
  EraseKey(runtime, dict, key);
  return runtime.Tuple({key, value});
}

Value SetDefault(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  auto& dict = self.As<DictObject>();
  if (const Value* found = FindKey(runtime, dict, a[0])) return *found;
  const Value value = Or(a[1], Value::None());
  SetKey(runtime, dict, a[0], value);
  return value;
}

Value Update(Runtime& runtime, const Value& self, Bound&, Arguments& all) {
  FillDict(runtime, self.As<DictObject>(), all);
  return Value::None();
}

// --- others

Value BitLength(Runtime&, const Value& self, Bound&, Arguments&) {
  const int64_t whole = self.Whole();
  uint64_t size = whole < 0 ? 0 - static_cast<uint64_t>(whole) : static_cast<uint64_t>(whole);
  int64_t bits = 0;
  for (; size != 0; size >>= 1) ++bits;
  return Value::Int(bits);
}

Value IsInteger(Runtime&, const Value& self, Bound&, Arguments&) {
  return Value::Bool(std::isfinite(self.real) && self.real == std::floor(self.real));
}

Value NextOfCycler(Runtime&, const Value& self, Bound&, Arguments&) {
  auto& cycler = self.As<CyclerObject>();
  const Value current = cycler.items[cycler.at];
  cycler.at = (cycler.at + 1) % cycler.items.size();
  return current;
}

Value ResetCycler(Runtime&, const Value& self, Bound&, Arguments&) {
  self.As<CyclerObject>().at = 0;
  return Value::None();
}

Value CycleOfLoop(Runtime& runtime, const Value& self, Bound&, Arguments& all) {
  if (all.positional.empty()) runtime.Refuse("values to cycle through", "none");
  const auto at = static_cast<size_t>(self.As<LoopObject>().index0) % all.positional.size();
  return all.positional[at];
}

Value ChangedInLoop(Runtime& runtime, const Value& self, Bound&, Arguments& all) {
  auto& loop = self.As<LoopObject>();
  bool is_same = loop.has_changed && loop.changed.size() == all.positional.size();
  for (size_t i = 0; is_same && i < all.positional.size(); ++i) {
    is_same = Equal(runtime, loop.changed[i], all.positional[i]);
  }
  loop.has_changed = true;
  loop.changed = all.positional;
  return Value::Bool(!is_same);
}

constexpr NativeFunction kListMethods[] = {{"copy", "", CopyList},
                                           {"count", "/ value", CountOf},
                                           {"index", "/ value start? stop?", IndexOf}};
constexpr NativeFunction kTupleMethods[] = {{"count", "/ value", CountOf},
                                            {"index", "/ value start? stop?", IndexOf}};
constexpr NativeFunction kRangeMethods[] = {{"count", "/ value", CountInRange},
                                            {"index", "/ value", IndexInRange}};
constexpr NativeFunction kDictMethods[] = {{"copy", "", CopyDict},
                                           {"get", "/ key default?", Get},
                                           {"items", "", ViewOf<ViewObject::Part::kItems>},
                                           {"keys", "", ViewOf<ViewObject::Part::kKeys>},
                                           {"values", "", ViewOf<ViewObject::Part::kValues>}};
constexpr NativeFunction kIntMethods[] = {{"bit_length", "", BitLength}};
constexpr NativeFunction kFloatMethods[] = {{"is_integer", "", IsInteger}};
constexpr NativeFunction kCyclerMethods[] = {{"next", "", NextOfCycler},
                                             {"reset", "", ResetCycler}};
constexpr NativeFunction kLoopMethods[] = {{"changed", "*", ChangedInLoop},
                                           {"cycle", "*", CycleOfLoop}};

// What the sandbox does not allow.
constexpr NativeFunction kListMutators[] = {
    {"append", "/ value", Append},    {"clear", "", ClearList},
    {"extend", "/ iterable", Extend}, {"insert", "/ index value", Insert},
    {"pop", "/ index?", PopItem},     {"remove", "/ value", Remove},
    {"reverse", "", ReverseList},     {"sort", "reverse?", SortList}};
constexpr NativeFunction kDictMutators[] = {{"clear", "", ClearDict},
                                            {"pop", "/ key default?", PopKey},
                                            {"popitem", "", PopLast},
                                            {"setdefault", "/ key default?", SetDefault},
                                            {"update", "*", Update}};

}  // namespace

const NativeFunction* FindMethod(const Value& value, std::string_view name) {
  switch (value.kind) {
    case Kind::kText: {
      const NativeFunction* found = FindIn(TextMethods(), name);
      return found != nullptr ? found : FindIn(TextTestMethods(), name);
    }
    case Kind::kList:
      return FindIn(kListMethods, name);
    case Kind::kTuple:
      return FindIn(kTupleMethods, name);
    case Kind::kRange:
      return FindIn(kRangeMethods, name);
    case Kind::kDict:
      return FindIn(kDictMethods, name);
    case Kind::kBool:
    case Kind::kInt:
      return FindIn(kIntMethods, name);
    case Kind::kFloat:
      return FindIn(kFloatMethods, name);
    case Kind::kCycler:
      return FindIn(kCyclerMethods, name);
    case Kind::kLoop:
      return FindIn(kLoopMethods, name);
    default:
      return nullptr;
  }
}

const NativeFunction* FindMutator(const Value& value, std::string_view name) {
  if (value.Is(Kind::kList)) return FindIn(kListMutators, name);
  return value.Is(Kind::kDict) ? FindIn(kDictMutators, name) : nullptr;
}

}  // namespace qualm::jinja
