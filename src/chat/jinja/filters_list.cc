// Filters of lists and dicts: their ends, parts, order and sums.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

Value Default(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const bool is_boolean = IsTrue(runtime, a[1]);
  if (!self.IsUndefined() && (!is_boolean || IsTrue(runtime, self))) return self;
  return a[0].IsAbsent() ? runtime.Text("") : a[0];
}

Value Length(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  const int64_t size = SizeOf(runtime, self);
  if (size < 0) runtime.Refuse("a value that has a length", TypeName(self));
  return Value::Int(size);
}

Value First(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  Cursor cursor = CursorOf(runtime, self);
  Value first;
  if (Next(runtime, cursor, &first)) return first;
  return runtime.Undefined("No first item, sequence was empty.");
}

// reversed() of Python: an iterator knows only its front.
bool IsReversible(const Value& value) {
  return IsIterable(value) && !value.Is(Kind::kIterator) && !value.IsUndefined();
}

Value Last(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  if (self.IsUndefined() && SizeOf(runtime, self) == 0) {
    return runtime.Undefined("No last item, sequence was empty.");
  }
  if (!IsReversible(self)) runtime.Refuse("a list for 'last'", TypeName(self));
  const std::vector<Value> items = ItemsOf(runtime, self);
  return items.empty() ? runtime.Undefined("No last item, sequence was empty.") : items.back();
}

Value Reverse(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  if (self.IsText()) {
    return SliceOf(runtime, self, Value::None(), Value::None(), Value::Int(-1));
  }
  if (!IsIterable(self)) runtime.Refuse("a list for 'reverse'", TypeName(self));
  std::vector<Value> items = ItemsOf(runtime, self);
  std::ranges::reverse(items);
  return IsReversible(self) ? runtime.Iterator(std::move(items)) : runtime.List(std::move(items));
}

Value ListFilter(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return runtime.List(ItemsOf(runtime, self));
}

Value Items(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  if (self.IsUndefined()) return runtime.Iterator({});
  if (!self.Is(Kind::kDict)) runtime.Refuse("a dict for 'items'", TypeName(self));
  std::vector<Value> pairs;
  for (const auto& [key, value] : self.As<DictObject>().items) {
    pairs.push_back(runtime.Tuple({key, value}));
  }
  return runtime.Iterator(std::move(pairs));
}

Value JoinFilter(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::string separator = a[0].IsAbsent() ? "" : ToText(runtime, a[0]);
  std::string text;
  bool is_first = true;
  for (const Value& item : ItemsOf(runtime, self)) {
    const std::string piece = ToText(runtime, AttributePath(runtime, item, a[1], Value()));
    runtime.Charge(piece.size() + separator.size());
    if (!std::exchange(is_first, false)) text += separator;
    text += piece;
  }
  return runtime.Text(std::move(text));
}

Value Batch(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const int64_t size = IntArgument(runtime, a[0], "linecount");
  std::vector<Value> batches, batch;
  for (const Value& item : ItemsOf(runtime, self)) {
    if (static_cast<int64_t>(batch.size()) == size) {
      batches.push_back(runtime.List(std::exchange(batch, {})));
    }
    batch.push_back(item);
  }
  if (!batch.empty()) {
    const bool is_filled = !a[1].IsAbsent() && !a[1].IsNone();
    while (is_filled && static_cast<int64_t>(batch.size()) < size) {
      runtime.Charge(sizeof(Value));
      batch.push_back(a[1]);
    }
    batches.push_back(runtime.List(std::move(batch)));
  }
  return runtime.Iterator(std::move(batches));
}

Value SliceFilter(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::vector<Value> items = ItemsOf(runtime, self);
  const int64_t slices = IntArgument(runtime, a[0], "slices");
  if (slices == 0) runtime.Refuse("a number of slices that is not 0", "0");
  std::vector<Value> all;
  const auto count = static_cast<size_t>(std::max<int64_t>(slices, 0));
  size_t next = 0;
  for (size_t i = 0; i < count; ++i) {
    runtime.Step();
    const bool has_extra = i < items.size() % count;
    const size_t size = items.size() / count + (has_extra ? 1 : 0);
    const auto begin = items.begin() + static_cast<ptrdiff_t>(next);
    std::vector<Value> slice(begin, begin + static_cast<ptrdiff_t>(size));
    next += size;
    if (!has_extra && !a[1].IsAbsent() && !a[1].IsNone()) slice.push_back(a[1]);
    all.push_back(runtime.List(std::move(slice)));
  }
  return runtime.Iterator(std::move(all));
}

// --- order

struct Keyed {
  Value key, item;
};

// Python's sorted(): equal elements keep their order, also when it is reversed.
void SortKeyed(Runtime& runtime, std::vector<Keyed>& all, bool is_reversed) {
  std::ranges::stable_sort(all, [&](const Keyed& a, const Keyed& b) {
    return is_reversed ? Less(runtime, b.key, a.key) : Less(runtime, a.key, b.key);
  });
}

Value DictSort(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  if (self.IsUndefined()) runtime.Refuse("a dict", self.As<UndefinedObject>().message);
  if (!self.Is(Kind::kDict)) runtime.Refuse("a dict for 'dictsort'", TypeName(self));
  const std::string by = a[1].IsAbsent() ? "key" : TextArgument(runtime, a[1], "by");
  if (by != "key" && by != "value") runtime.Refuse("'key' or 'value' to sort by", by);

  std::vector<Keyed> all;
  for (const auto& [key, value] : self.As<DictObject>().items) {
    all.push_back({CaseKey(runtime, by == "key" ? key : value, IsTrue(runtime, a[0])),
                   runtime.Tuple({key, value})});
  }
  SortKeyed(runtime, all, IsTrue(runtime, a[2]));
  std::vector<Value> sorted;
  for (const Keyed& one : all) sorted.push_back(one.item);
  return runtime.List(std::move(sorted));
}

// The values of the attributes in "a,b.c" as a list to compare.
Value SortKey(Runtime& runtime, const Value& item, const Value& attribute, bool is_case_sensitive) {
  std::vector<Value> keys;
  if (attribute.IsText()) {
    for (const std::string& one : Split(attribute.Bytes(), ',')) {
      const Value key = AttributePath(runtime, item, runtime.Text(one), Value());
      keys.push_back(CaseKey(runtime, key, is_case_sensitive));
    }
  } else {
    keys.push_back(
        CaseKey(runtime, AttributePath(runtime, item, attribute, Value()), is_case_sensitive));
  }
  return runtime.List(std::move(keys));
}

Value Sort(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  std::vector<Keyed> all;
  for (const Value& item : ItemsOf(runtime, self)) {
    all.push_back({SortKey(runtime, item, a[2], IsTrue(runtime, a[1])), item});
  }
  SortKeyed(runtime, all, IsTrue(runtime, a[0]));
  std::vector<Value> sorted;
  for (const Keyed& one : all) sorted.push_back(one.item);
  return runtime.List(std::move(sorted));
}

template <bool is_max>
Value Extreme(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  Value best, best_key;
  for (const Value& item : ItemsOf(runtime, self)) {
    const Value key =
        CaseKey(runtime, AttributePath(runtime, item, a[1], Value()), IsTrue(runtime, a[0]));
    const bool is_better =
        best.IsAbsent() || (is_max ? Less(runtime, best_key, key) : Less(runtime, key, best_key));
    if (!is_better) continue;
    best = item;
    best_key = key;
  }
  return best.IsAbsent() ? runtime.Undefined("No aggregated item, sequence was empty.") : best;
}

Value Unique(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value seen = runtime.Dict();
  std::vector<Value> kept;
  for (const Value& item : ItemsOf(runtime, self)) {
    const Value key =
        CaseKey(runtime, AttributePath(runtime, item, a[1], Value()), IsTrue(runtime, a[0]));
    if (FindKey(runtime, seen.As<DictObject>(), key) != nullptr) continue;
    SetKey(runtime, seen.As<DictObject>(), key, Value::None());
    kept.push_back(item);
  }
  return runtime.Iterator(std::move(kept));
}

Value GroupBy(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const bool is_case_sensitive = IsTrue(runtime, a[2]);
  std::vector<Keyed> all;
  for (const Value& item : ItemsOf(runtime, self)) {
    all.push_back(
        {CaseKey(runtime, AttributePath(runtime, item, a[0], a[1]), is_case_sensitive), item});
  }
  SortKeyed(runtime, all, /*is_reversed=*/false);

  std::vector<Value> groups;
  for (size_t begin = 0; begin < all.size();) {
    std::vector<Value> members;
    size_t end = begin;
    while (end < all.size() && Equal(runtime, all[end].key, all[begin].key)) {
      members.push_back(all[end++].item);
    }
    // The group is called as its first member is, whatever the case.
    const Value name = AttributePath(runtime, members[0], a[0], a[1]);
    const Value group = runtime.Tuple({name, runtime.List(std::move(members))});
    group.As<ListObject>().is_group = true;
    groups.push_back(group);
    begin = end;
  }
  return runtime.List(std::move(groups));
}

Value Sum(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  Value sum = Or(a[1], Value::Int(0));
  if (sum.IsText()) runtime.Refuse("a sum that does not begin with a text", "a text");
  for (const Value& item : ItemsOf(runtime, self)) {
    sum = Arithmetic(runtime, Operator::kAdd, sum, AttributePath(runtime, item, a[0], Value()));
  }
  return sum;
}

Value Random(Runtime& runtime, const Value&, Bound&, Arguments&) {
  runtime.Refuse("a filter whose result is the same each time", "'random'");
}

// An attribute, but never an element.
Value Attr(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const std::string name = TextArgument(runtime, a[0], "name");
  if (self.IsUndefined()) runtime.Refuse("a value", self.As<UndefinedObject>().message);
  const Value found = TypeAttribute(runtime, self, name);
  if (!found.IsAbsent()) return found;
  return runtime.Undefined(
      StrCat("'", TypeName(self), " object' has no attribute ", Repr(runtime, a[0])));
}

}  // namespace

Value CaseKey(Runtime& runtime, const Value& value, bool is_case_sensitive) {
  if (is_case_sensitive || !value.IsText()) return value;
  return runtime.Text(Lower(value.Bytes()));
}

std::span<const NativeFunction> ListFilters() {
  // ADD A FILTER of lists: its name, the arguments after the value, the function.
  static constexpr NativeFunction kFilters[] = {
      {"attr", "name", Attr},
      {"batch", "linecount fill_with?", Batch},
      {"count", "", Length},
      {"d", "default_value? boolean?", Default},
      {"default", "default_value? boolean?", Default},
      {"dictsort", "case_sensitive? by? reverse?", DictSort},
      {"first", "", First},
      {"groupby", "attribute default? case_sensitive?", GroupBy},
      {"items", "", Items},
      {"join", "d? attribute?", JoinFilter},
      {"last", "", Last},
      {"length", "", Length},
      {"list", "", ListFilter},
      {"max", "case_sensitive? attribute?", Extreme<true>},
      {"min", "case_sensitive? attribute?", Extreme<false>},
      {"random", "*", Random},
      {"reverse", "", Reverse},
      {"slice", "slices fill_with?", SliceFilter},
      {"sort", "reverse? case_sensitive? attribute?", Sort},
      {"sum", "attribute? start?", Sum},
      {"unique", "case_sensitive? attribute?", Unique},
  };
  return kFilters;
}

}  // namespace qualm::jinja
