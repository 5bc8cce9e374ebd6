// map, select, reject, selectattr, rejectattr: filters that apply other filters or tests to each
// element. What they give can be gone through once, as a generator of Python.
#include "base/strings.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

// The arguments after the first `count` ones by position.
Arguments After(const Arguments& all, size_t count) {
  Arguments rest;
  rest.named = all.named;
  rest.positional.assign(all.positional.begin() + static_cast<ptrdiff_t>(count),
                         all.positional.end());
  return rest;
}

// map(attribute="a", default="b").
Value MapAttribute(Runtime& runtime, const Value& self, const Arguments& all) {
  Value attribute, otherwise;
  for (const auto& [name, value] : all.named) {
    if (name == "attribute") {
      attribute = value;
    } else if (name == "default") {
      otherwise = value;
    } else {
      runtime.Refuse("arguments that 'map' has", StrCat("'", name, "'"));
    }
  }
  std::vector<Value> mapped;
  for (const Value& item : ItemsOf(runtime, self)) {
    mapped.push_back(AttributePath(runtime, item, attribute, otherwise));
  }
  return runtime.Iterator(std::move(mapped));
}

Value Map(Runtime& runtime, const Value& self, Bound&, Arguments& all) {
  if (!IsTrue(runtime, self)) return runtime.Iterator({});
  if (all.positional.empty()) {
    for (const auto& [name, value] : all.named) {
      if (name == "attribute") return MapAttribute(runtime, self, all);
    }
    runtime.Refuse("the name of a filter for 'map'", "none");
  }

  const std::string filter = TextArgument(runtime, all.positional[0], "the name of a filter");
  std::vector<Value> mapped;
  for (const Value& item : ItemsOf(runtime, self)) {
    Arguments rest = After(all, 1);
    mapped.push_back(ApplyFilter(runtime, filter, item, rest));
  }
  return runtime.Iterator(std::move(mapped));
}

// Elements for which a test (or their own truth) is `wanted`; of an attribute of theirs if the
// first argument names one.
template <bool wanted, bool of_attribute>
Value Select(Runtime& runtime, const Value& self, Bound&, Arguments& all) {
  if (!IsTrue(runtime, self)) return runtime.Iterator({});
  constexpr size_t kName = of_attribute ? 1 : 0;
  if (of_attribute && all.positional.empty()) runtime.Refuse("the name of an attribute", "none");

  std::vector<Value> kept;
  for (const Value& item : ItemsOf(runtime, self)) {
    const Value value =
        of_attribute ? AttributePath(runtime, item, all.positional[0], Value()) : item;
    bool holds = false;
    if (all.positional.size() > kName) {
      Arguments rest = After(all, kName + 1);
      const std::string test = TextArgument(runtime, all.positional[kName], "the name of a test");
      holds = ApplyTest(runtime, test, value, rest);
    } else {
      holds = IsTrue(runtime, value);
    }
    if (holds == wanted) kept.push_back(item);
  }
  return runtime.Iterator(std::move(kept));
}

}  // namespace

std::span<const NativeFunction> SelectionFilters() {
  static constexpr NativeFunction kFilters[] = {
      {"map", "*", Map},
      {"reject", "*", Select<false, false>},
      {"rejectattr", "*", Select<false, true>},
      {"select", "*", Select<true, false>},
      {"selectattr", "*", Select<true, true>},
  };
  return kFilters;
}

}  // namespace qualm::jinja
