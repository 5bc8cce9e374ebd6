// What reading a field comes to, whatever struct it belongs to: a scalar is converted, its range or
// its name is checked, and a message names key, expected and got.
#include "io/fields.h"

#include <algorithm>

#include "base/error_place.h"
#include "io/json_fields.h"

namespace qualm {

namespace fields {
namespace {

std::vector<std::string> Listed(const EnumNames& names) {
  return {names.names.begin(), names.names.end()};
}

// Empty if no value has that name.
std::optional<size_t> Position(const EnumNames& names, std::string_view name) {
  const auto found = std::ranges::find(names.names, name);
  if (found == names.names.end()) return std::nullopt;
  return static_cast<size_t>(found - names.names.begin());
}

bool Holds(const FieldRange& range, double value) {
  return value <= range.most && (range.is_open_below ? value > range.least : value >= range.least);
}

std::string Bounds(const FieldRange& range, bool is_whole) {
  return is_whole ? StrCat(range.whole_least, "..", range.whole_most)
                  : StrCat(range.least, "..", range.most);
}

[[noreturn]] void ThrowOutside(const Yaml& value, std::string_view key, const FieldRule& rule,
                               const FieldRange& range, bool is_whole) {
  const std::string expected = rule.expected.empty() ? StrCat(key, " in ", Bounds(range, is_whole))
                                                     : std::string(rule.expected);
  ThrowBadInput(value.place(), expected, value.AsString(), rule.hint);
}

// Of messages about a value in JSON: the key, unless `expected` begins with it.
std::string PlaceOf(std::string_view key, std::string_view expected) {
  return expected.starts_with(key) ? std::string(kNoPlace) : StrCat(":", key);
}

}  // namespace

int64_t IntOf(const Yaml& value, std::string_view key, const FieldRule& rule,
              const FieldRange& limits) {
  const int64_t number = value.AsInt();
  const FieldRange& range = rule.range ? *rule.range : limits;
  if (number < range.whole_least || number > range.whole_most) {
    ThrowOutside(value, key, rule, range, /*is_whole=*/true);
  }
  return number;
}

double NumberOf(const Yaml& value, std::string_view key, const FieldRule& rule) {
  if (rule.infinite_as_none && value.AsString() == "none") {
    return std::numeric_limits<double>::infinity();
  }
  const double number = value.AsDouble();
  if (rule.range && !Holds(*rule.range, number)) {
    ThrowOutside(value, key, rule, *rule.range, /*is_whole=*/false);
  }
  return number;
}

size_t ChoiceOf(const Yaml& value, std::string_view key, const FieldRule& rule,
                const EnumNames& names) {
  const std::string name = value.AsString();
  if (const std::optional<size_t> position = Position(names, name)) return *position;
  if (!rule.expected.empty()) ThrowBadInput(value.place(), rule.expected, name, rule.hint);
  ThrowUnknownName(value.place(), names.kind.empty() ? key : names.kind, name, Listed(names));
}

const Json* Find(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() ? nullptr : &*found;
}

int64_t IntOf(const Json& object, std::string_view key, const FieldRule& rule,
              const FieldRange& limits) {
  const int64_t number = GetInt(object, key, kNoPlace);
  const FieldRange& range = rule.range ? *rule.range : limits;
  if (number >= range.whole_least && number <= range.whole_most) return number;

  std::string expected(rule.expected);
  const bool is_size = !rule.range && limits.whole_least == 0;
  if (expected.empty()) expected = is_size ? "a size" : Bounds(range, /*is_whole=*/true);
  ThrowBadInput(PlaceOf(key, expected), expected, StrCat(number), rule.hint);
}

uint64_t SeedOf(const Json& object, std::string_view key) {
  const Json& seed = ChildOf(object, key);
  if (!seed.is_number_unsigned()) {
    ThrowExpected(StrCat("a ", key, " in 0..2^64-1"), seed.dump());
  }
  return seed.get<uint64_t>();
}

double NumberOf(const Json& object, std::string_view key, const FieldRule& rule) {
  const Json* value = Find(object, key);
  if (rule.infinite_as_none && value != nullptr && *value == "none") {
    return std::numeric_limits<double>::infinity();
  }
  const double number = GetDouble(object, key, kNoPlace);
  if (rule.range && !Holds(*rule.range, number)) {
    const std::string expected = rule.expected.empty() ? Bounds(*rule.range, /*is_whole=*/false)
                                                       : std::string(rule.expected);
    ThrowBadInput(PlaceOf(key, expected), expected, StrCat(number), rule.hint);
  }
  return number;
}

bool BoolOf(const Json& object, std::string_view key) {
  const Json* value = Find(object, key);
  if (value == nullptr || value->is_null()) {
    ThrowExpected(StrCat("the key '", key, "', true or false"), "none");
  }
  return GetBool(object, key, kNoPlace, false);
}

size_t ChoiceOf(const Json& object, std::string_view key, const FieldRule& rule,
                const EnumNames& names) {
  const std::string name = StringOf(object, key);
  if (const std::optional<size_t> position = Position(names, name)) return *position;
  if (!rule.expected.empty()) {
    ThrowBadInput(PlaceOf(key, rule.expected), rule.expected, name, rule.hint);
  }
  ThrowUnknownName(kNoPlace, names.kind.empty() ? key : names.kind, name, Listed(names));
}

std::string StringOf(const Json& object, std::string_view key) {
  return GetString(object, key, kNoPlace);
}

const Json& ChildOf(const Json& object, std::string_view key) {
  return GetChild(object, std::string(key).c_str(), kNoPlace);
}

const Json& ListOf(const Json& object, std::string_view key) {
  const Json& list = ChildOf(object, key);
  if (!list.is_array()) ThrowBadInput(StrCat(":", key), "a list", list.type_name());
  return list;
}

int64_t IntItem(const Json& item, std::string_view key, const FieldRange& limits) {
  // JSON's unsigned integers reach beyond int64_t.
  const bool is_above =
      item.is_number_unsigned() &&
      item.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits = !is_above && item.is_number_integer() &&
                    item.get<int64_t>() >= limits.whole_least &&
                    item.get<int64_t>() <= limits.whole_most;
  if (!fits) {
    ThrowExpected(StrCat(key, " in ", Bounds(limits, /*is_whole=*/true)), item.dump());
  }
  return item.get<int64_t>();
}

double NumberItem(const Json& item, std::string_view key) {
  if (item.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!item.is_number()) ThrowExpected(StrCat(key, " as numbers"), item.dump());
  return item.get<double>();
}

const Json& ListItem(const Json& item, std::string_view key) {
  if (!item.is_array()) ThrowExpected(StrCat(key, " as lists"), item.dump());
  return item;
}

std::string TextItem(const Json& item, std::string_view key) {
  if (!item.is_string()) ThrowExpected(StrCat(key, " as text"), item.dump());
  return item.get<std::string>();
}

uint32_t SizeItem(const Json& item, std::string_view key) {
  if (!item.is_number_unsigned() || item.get<uint64_t>() > UINT32_MAX) {
    ThrowExpected(StrCat(key, " as 32-bit sizes"), item.dump());
  }
  return item.get<uint32_t>();
}

std::string Quoted(std::string_view text) { return Json(text).dump(); }

std::string AllowedText(const FieldRange& range, bool is_whole) {
  if (range.is_open_below) return StrCat("above ", range.least, ", at most ", range.most);
  return Bounds(range, is_whole);
}

}  // namespace fields

size_t ChoiceFromName(const EnumNames& names, std::string_view name, std::string_view place) {
  if (const std::optional<size_t> position = fields::Position(names, name)) return *position;
  ThrowUnknownName(place, names.kind, name, fields::Listed(names));
}

}  // namespace qualm
