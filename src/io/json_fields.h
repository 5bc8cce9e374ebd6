// Fields of JSON records: reading and writing a struct that states its fields once (fields.h).
// A record is written by our own programs, so reading it is strict: every field must be there
// unless its rule says that it is optional, and no other key may be.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error_place.h"
#include "io/fields.h"
#include "io/json.h"

namespace qualm {

template <HasFields T>
void ReadFields(const Json& json, T& value);
template <HasFields T>
Json FieldsJson(const T& value);

namespace fields {

// The value of `key` in `object`. Throws bad input, without the record's place, if it is missing.
int64_t IntOf(const Json& object, std::string_view key, const FieldRule& rule,
              const FieldRange& limits);
uint64_t SeedOf(const Json& object, std::string_view key);
double NumberOf(const Json& object, std::string_view key, const FieldRule& rule);
bool BoolOf(const Json& object, std::string_view key);
size_t ChoiceOf(const Json& object, std::string_view key, const FieldRule& rule,
                const EnumNames& names);
std::string StringOf(const Json& object, std::string_view key);
const Json& ChildOf(const Json& object, std::string_view key);
const Json& ListOf(const Json& object, std::string_view key);
std::string TextItem(const Json& item, std::string_view key);
uint32_t SizeItem(const Json& item, std::string_view key);
int64_t IntItem(const Json& item, std::string_view key, const FieldRange& limits);
// JSON holds neither NaN nor infinities: they are written as null, which is read as NaN.
double NumberItem(const Json& item, std::string_view key);
const Json& ListItem(const Json& item, std::string_view key);
// Null if the key is absent.
const Json* Find(const Json& object, std::string_view key);

class JsonReader : public Visitor {
 public:
  explicit JsonReader(const Json& object) : object_(object) {}

  void Within(std::string_view place) { place_ = place; }
  // What the fields so far say of the place; empty if they say nothing.
  const std::string& place() const { return place_; }

  template <class T>
  void operator()(std::string_view key, T& field, const FieldRule& rule = {}) {
    const Json* value = fields::Find(object_, key);
    if (IsMissing(value, rule, field)) return;
    Read(key, rule, field);
  }
  template <class T>
  void operator()(std::string_view key, T& field, const FieldRule& rule,
                  const std::type_identity_t<T>& when_missing) {
    field = when_missing;
    (*this)(key, field, rule);
  }
  template <class SomeFields>
  void Map(std::string_view key, const SomeFields& some_fields) {
    KeyCollector collector;
    some_fields(collector);
    const Json& map = ChildOf(object_, key);
    RequireObject(map, collector.keys(), kNoPlace);
    JsonReader inner(map);
    some_fields(inner);
  }

 private:
  // A value that may be missing is missing if it is null, too.
  template <class T>
  static bool IsMissing(const Json* value, const FieldRule& rule, const T&) {
    if constexpr (kIsOptional<T>) {
      if (value == nullptr) return !rule.null_when_empty;
      return value->is_null() && (rule.null_when_empty || HasFields<typename T::value_type>);
    } else {
      return rule.optional && (value == nullptr || value->is_null());
    }
  }

  template <class T>
  void Read(std::string_view key, const FieldRule& rule, T& field) const {
    if constexpr (std::same_as<T, bool>) {
      field = BoolOf(object_, key);
    } else if constexpr (std::integral<T>) {
      if (rule.is_seed) {
        field = static_cast<T>(SeedOf(object_, key));
      } else {
        field = static_cast<T>(IntOf(object_, key, rule, LimitsOf<T>()));
      }
    } else if constexpr (std::floating_point<T>) {
      field = static_cast<T>(NumberOf(object_, key, rule));
    } else if constexpr (std::is_enum_v<T>) {
      field = static_cast<T>(ChoiceOf(object_, key, rule, NamesOfEnum(T{})));
    } else if constexpr (std::same_as<T, std::string>) {
      field = rule.is_json_text ? ChildOf(object_, key).dump() : StringOf(object_, key);
    } else if constexpr (std::same_as<T, Json>) {
      field = ChildOf(object_, key);
    } else if constexpr (kIsOptional<T>) {
      Read(key, rule, field.emplace());
    } else if constexpr (kIsList<T>) {
      field.clear();
      for (const Json& item : ListOf(object_, key)) ReadItem(item, key, field);
    } else {
      // A missing value is an error of the outer place.
      const Json& value = ChildOf(object_, key);
      At(rule.inner_place, [&] { ReadFields(value, field); });
    }
  }

  template <class T>
  static void ReadItem(const Json& item, std::string_view key, std::vector<T>& field) {
    if constexpr (std::same_as<T, std::string>) {
      field.push_back(TextItem(item, key));
    } else if constexpr (std::same_as<T, uint32_t>) {
      field.push_back(SizeItem(item, key));
    } else if constexpr (std::integral<T>) {
      field.push_back(static_cast<T>(IntItem(item, key, LimitsOf<T>())));
    } else if constexpr (std::floating_point<T>) {
      field.push_back(static_cast<T>(NumberItem(item, key)));
    } else if constexpr (kIsList<T>) {
      field.emplace_back();
      for (const Json& inner : ListItem(item, key)) ReadItem(inner, key, field.back());
    } else {
      ReadFields(item, field.emplace_back());
    }
  }

  const Json& object_;
  std::string place_;
};

template <class T>
Json JsonOf(const T& field, const FieldRule& rule) {
  if constexpr (std::is_enum_v<T>) {
    return NameOfEnum(field);
  } else if constexpr (std::floating_point<T>) {
    if (rule.infinite_as_none && std::isinf(field)) return "none";
    return field;
  } else if constexpr (kIsOptional<T>) {
    return field ? JsonOf(*field, rule) : Json();
  } else if constexpr (kIsList<T>) {
    Json list = Json::array();
    for (const auto& item : field) list.push_back(JsonOf(item, rule));
    return list;
  } else if constexpr (HasFields<T>) {
    return FieldsJson(field);
  } else if constexpr (std::same_as<T, std::string>) {
    return rule.is_json_text ? ParseJson(field, "JSON in a record") : Json(field);
  } else {
    return field;
  }
}

class JsonWriter : public Visitor {
 public:
  template <class T>
  void operator()(std::string_view key, const T& field, const FieldRule& rule = {}) {
    if (!rule.is_written) return;
    if constexpr (kIsOptional<T>) {
      if (!field && !rule.null_when_empty) return;
    }
    json_.emplace(key, JsonOf(field, rule));
  }
  template <class T>
  void operator()(std::string_view key, const T& field, const FieldRule& rule,
                  const std::type_identity_t<T>&) {
    (*this)(key, field, rule);
  }
  template <class Value>
  void Shown(std::string_view key, const Value& value) {
    json_.emplace(key, ShownValue(value));
  }
  template <class SomeFields>
  void Map(std::string_view key, const SomeFields& some_fields) {
    JsonWriter inner;
    some_fields(inner);
    json_.emplace(key, inner.Take());
  }
  Json Take() { return std::move(json_); }

 private:
  Json json_ = Json::object();
};

}  // namespace fields

// Reads the JSON object `json` into `value`; the caller puts its place in front of errors.
template <HasFields T>
void ReadFields(const Json& json, T& value) {
  RequireObject(json, KeysOf(value), kNoPlace);
  fields::JsonReader reader(json);
  At([&] { return reader.place(); },
     [&] {
       T::Fields(reader, value);
       if constexpr (HasValidate<T>) value.Validate();
     });
}

// The value that the JSON object says; errors begin with `place`.
template <HasFields T>
T FieldsFrom(const Json& json, std::string_view place) {
  T value;
  At(place, [&] { ReadFields(json, value); });
  return value;
}

// Keys in the order in which the struct states them.
template <HasFields T>
Json FieldsJson(const T& value) {
  fields::JsonWriter writer;
  T::Fields(writer, value);
  return writer.Take();
}

}  // namespace qualm
