// Finds filters and tests by name and applies them.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

std::vector<std::span<const NativeFunction>> FilterTables() {
  return {TextFilters(), HtmlFilters(), ListFilters(), SelectionFilters(), NumberFilters()};
}

// A filter of the options works on JSON.
Value ApplyOwn(Runtime& runtime, const JinjaFilter& filter, const Value& value,
               const Arguments& arguments) {
  const std::string parameters = Join(filter.parameters, " ");
  std::vector<Json> given;
  for (const Value& one : Bind(runtime, filter.name, parameters, arguments)) {
    given.push_back(one.IsAbsent() ? Json() : runtime.ToJson(one));
  }
  return runtime.FromJson(filter.apply(runtime.ToJson(value), given));
}

}  // namespace

const NativeFunction* FindFilter(std::string_view name) {
  for (const auto table : FilterTables()) {
    if (const NativeFunction* found = FindIn(table, name)) return found;
  }
  return nullptr;
}

std::vector<std::string> FilterNames() {
  // Those that the tables have only to refuse them are not offered.
  constexpr std::string_view kRefused[] = {"random", "urlize"};
  std::vector<std::string> names;
  for (const auto table : FilterTables()) {
    for (const NativeFunction& one : table) {
      const std::string_view name = one.name;
      if (std::ranges::find(kRefused, name) == std::end(kRefused)) names.emplace_back(name);
    }
  }
  std::ranges::sort(names);
  return names;
}

Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& value,
                  Arguments& arguments) {
  for (const JinjaFilter& own : runtime.options().filters) {
    if (own.name == name) return ApplyOwn(runtime, own, value, arguments);
  }
  const NativeFunction* filter = FindFilter(name);
  if (filter == nullptr) runtime.Refuse("a filter that Jinja has", StrCat("'", name, "'"));
  return RunNative(runtime, *filter, value, arguments);
}

bool ApplyTest(Runtime& runtime, std::string_view name, const Value& value, Arguments& arguments) {
  const NativeFunction* test = FindTest(name);
  if (test == nullptr) runtime.Refuse("a test that Jinja has", StrCat("'", name, "'"));
  return IsTrue(runtime, RunNative(runtime, *test, value, arguments));
}

Value AttributePath(Runtime& runtime, const Value& item, const Value& attribute,
                    const Value& otherwise) {
  Value value = item;
  const auto step = [&](const Value& key) {
    value = ElementOf(runtime, value, key);
    if (value.IsUndefined() && !otherwise.IsAbsent() && !otherwise.IsNone()) value = otherwise;
  };
  if (attribute.IsAbsent() || attribute.IsNone()) return value;
  if (!attribute.IsText()) {
    step(attribute);
    return value;
  }

  for (const std::string& part : Split(attribute.Bytes(), '.')) {
    int64_t place = 0;
    const bool is_place =
        !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    step(is_place && ReadInt(runtime, part, 10, &place) ? Value::Int(place) : runtime.Text(part));
  }
  return value;
}

}  // namespace qualm::jinja
