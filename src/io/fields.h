// Fields: a struct that is read or written states its fields once, and visitors do the rest.
//
//   struct Options {
//     double damp = 0.01;
//     template <class Visitor, class Self>
//     static void Fields(Visitor& visit, Self& self) {
//       visit("damp", self.damp,
//             {.meaning = "relative to mean(diag H)", .range = InRange(0, 100)});
//     }
//   };
//
// `Self` is Options or const Options, so the same statement serves readers and writers. The order
// of the statements is the order of the written keys. The idea is gemma.cpp's fields.h.
//
// The functions at the end of this file are the interface: ReadFields, FieldsText, DescribeFields
// (json_fields.h adds JSON records). The visitors above them are what they are made of.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "io/yaml.h"

namespace qualm {

// The numbers that a field accepts. Whole numbers keep their own bounds, so that messages show them
// as they were stated.
struct FieldRange {
  double least = 0, most = 0;
  int64_t whole_least = 0, whole_most = 0;
  bool is_open_below = false;  // `least` itself is refused
};

template <class Least, class Most>
constexpr FieldRange InRange(Least least, Most most) {
  FieldRange range{static_cast<double>(least), static_cast<double>(most)};
  if constexpr (std::integral<Least> && std::integral<Most>) {
    range.whole_least = static_cast<int64_t>(least);
    range.whole_most = static_cast<int64_t>(most);
  }
  return range;
}

constexpr FieldRange Above(double least, double most) { return {least, most, 0, 0, true}; }

// What is known of a field besides its key and its type.
//
// Whether a key may be missing differs by format: people write YAML, so there a missing key leaves
// the field as it is; our own programs write JSON records, so there it is an error.
struct FieldRule {
  std::string_view meaning = {};         // one line, for lists of options
  std::optional<FieldRange> range = {};  // of numbers
  std::string_view expected = {};        // opens the message in place of the range or the names
  std::string_view hint = {};            // closes it
  bool required = false;                 // the key must be there, also in YAML
  bool optional = false;                 // the key may be missing, also in JSON
  bool is_written = true;                // false: the writer leaves the key out
  bool null_when_empty = false;          // an empty std::optional is written as null
  bool infinite_as_none = false;         // infinity is spelled "none"
  bool is_seed = false;                  // any 64-bit number
  bool is_json_text = false;             // a std::string that holds JSON; only in JSON
  bool one_or_many = false;              // in YAML a single value may stand for a list of one
  std::string_view inner_place = {};     // is added to the place in messages about what is inside
};

// Spellings of an enum, in the order of its values from 0 on. An enum that is a field has a
// function `EnumNames NamesOfEnum(Enum)` in its namespace.
struct EnumNames {
  std::string_view kind;  // for "unknown <kind> 'x'"; empty: the key of the field
  std::span<const std::string_view> names;
};

// The index of `name`; an unknown one is answered with the nearest.
size_t ChoiceFromName(const EnumNames& names, std::string_view name, std::string_view place);

template <class Enum>
std::string_view NameOfEnum(Enum value) {
  const auto index = static_cast<size_t>(value);
  const std::span<const std::string_view> names = NamesOfEnum(value).names;
  QUALM_CHECK(index < names.size());
  return names[index];
}
template <class Enum>
Enum EnumFromName(std::string_view name, std::string_view place) {
  return static_cast<Enum>(ChoiceFromName(NamesOfEnum(Enum{}), name, place));
}

// A field as lists show it.
struct FieldDescription {
  std::string key, type, default_text, allowed, meaning;
  bool operator==(const FieldDescription&) const = default;
};

namespace fields {

// The work that does not depend on a field's struct. `value` is what was found under `key`.
int64_t IntOf(const Yaml& value, std::string_view key, const FieldRule& rule,
              const FieldRange& limits);
double NumberOf(const Yaml& value, std::string_view key, const FieldRule& rule);
size_t ChoiceOf(const Yaml& value, std::string_view key, const FieldRule& rule,
                const EnumNames& names);

std::string Quoted(std::string_view text);  // as JSON
std::string AllowedText(const FieldRange& range, bool is_whole);

// The bounds of an integer type as a range; 64-bit unsigned numbers up to 2^63 - 1.
template <std::integral T>
constexpr FieldRange LimitsOf() {
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<T>::max());
  constexpr auto kSigned = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  return InRange(static_cast<int64_t>(std::numeric_limits<T>::min()),
                 static_cast<int64_t>(kMost < kSigned ? kMost : kSigned));
}

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <class T>
inline constexpr bool kIsList = false;
template <class T>
inline constexpr bool kIsList<std::vector<T>> = true;

template <class Value>
decltype(auto) ShownValue(const Value& value) {
  if constexpr (std::invocable<const Value&>) {
    return value();
  } else {
    return value;
  }
}

// What a visitor can be asked for besides fields. Readers and writers override what concerns them.
struct Visitor {
  // Messages about the fields that follow name this place as well.
  void Within(std::string_view) {}
  // A key that is written for people and for other programs; readers know it but do not read it.
  // Its value, or a function that makes the value and is called only when it is written.
  template <class Value>
  void Shown(std::string_view, const Value&) {}
  // A map whose keys are members of the struct itself: `fields` is called with a visitor.
  template <class SomeFields>
  void Map(std::string_view, const SomeFields&) {}
};

// Gathers the keys, for messages about unknown ones.
class KeyCollector : public Visitor {
 public:
  template <class T>
  void operator()(std::string_view key, const T&, const FieldRule& = {}) {
    keys_.emplace_back(key);
  }
  template <class T>
  void operator()(std::string_view key, const T& field, const FieldRule& rule,
                  const std::type_identity_t<T>&) {
    (*this)(key, field, rule);
  }
  template <class Value>
  void Shown(std::string_view key, const Value&) {
    keys_.emplace_back(key);
  }
  template <class SomeFields>
  void Map(std::string_view key, const SomeFields&) {
    keys_.emplace_back(key);
  }
  const std::vector<std::string>& keys() const { return keys_; }

 private:
  std::vector<std::string> keys_;
};

}  // namespace fields

template <class T>
concept HasFields = requires(fields::KeyCollector& visit, const T& value) {
  T::Fields(visit, value);
};

// A struct may refuse combinations of its fields; readers call Validate() after all fields. One
// with parameters does not compile, so that it cannot be left out silently.
template <class T>
concept HasValidate = requires {
  &T::Validate;
};

template <HasFields T>
std::vector<std::string> KeysOf(const T& value) {
  fields::KeyCollector collector;
  T::Fields(collector, value);
  return collector.keys();
}

template <HasFields T>
void ReadFields(const Yaml& yaml, T& value);
template <HasFields T>
std::string FieldsText(const T& value);

namespace fields {

class YamlReader : public Visitor {
 public:
  explicit YamlReader(const Yaml& map) : map_(map) {}

  template <class T>
  void operator()(std::string_view key, T& field, const FieldRule& rule = {}) {
    if (const Yaml* value = Find(key, rule)) Read(*value, key, rule, field);
  }
  // `when_missing` is the field's value if the key is missing; it depends on earlier fields.
  template <class T>
  void operator()(std::string_view key, T& field, const FieldRule& rule,
                  const std::type_identity_t<T>& when_missing) {
    field = when_missing;
    (*this)(key, field, rule);
  }
  template <class SomeFields>
  void Map(std::string_view key, const SomeFields& some_fields) {
    const Yaml* map = map_.Find(key);
    if (map == nullptr) return;
    KeyCollector collector;
    some_fields(collector);
    map->RequireKnownKeys(collector.keys());
    YamlReader inner(*map);
    some_fields(inner);
  }

 private:
  const Yaml* Find(std::string_view key, const FieldRule& rule) const {
    const Yaml* value = map_.Find(key);
    if (value == nullptr && rule.required) return &map_.Get(key);
    return value;
  }

  template <class T>
  static void Read(const Yaml& value, std::string_view key, const FieldRule& rule, T& field) {
    if constexpr (std::same_as<T, bool>) {
      field = value.AsBool();
    } else if constexpr (std::integral<T>) {
      field = static_cast<T>(IntOf(value, key, rule, LimitsOf<T>()));
    } else if constexpr (std::floating_point<T>) {
      field = static_cast<T>(NumberOf(value, key, rule));
    } else if constexpr (std::is_enum_v<T>) {
      field = static_cast<T>(ChoiceOf(value, key, rule, NamesOfEnum(T{})));
    } else if constexpr (std::same_as<T, std::string>) {
      field = value.AsString();
    } else if constexpr (kIsOptional<T>) {
      // Read aside: g++ 12 takes emplace() of an empty optional for the use of what is not there.
      typename T::value_type inner{};
      const bool is_empty = rule.null_when_empty && value.kind() == Yaml::Kind::kNull;
      if (!is_empty) Read(value, key, rule, inner);
      field = is_empty ? T() : T(std::move(inner));
    } else if constexpr (kIsList<T>) {
      ReadList(value, key, rule, field);
    } else {
      ReadFields(value, field);
    }
  }

  template <class T>
  static void ReadList(const Yaml& value, std::string_view key, const FieldRule& rule,
                       std::vector<T>& field) {
    field.clear();
    if (rule.one_or_many && value.kind() == Yaml::Kind::kScalar) {
      Read(value, key, rule, field.emplace_back());
      return;
    }
    for (const Yaml& item : value.AsList()) Read(item, key, rule, field.emplace_back());
  }

  const Yaml& map_;
};

// A value as canonical text: JSON, but a whole number has no point, whatever its type.
template <class T>
std::string TextOf(const T& field, const FieldRule& rule) {
  if constexpr (std::is_enum_v<T>) {
    return Quoted(NameOfEnum(field));
  } else if constexpr (std::floating_point<T>) {
    return rule.infinite_as_none && std::isinf(field) ? Quoted("none") : StrCat(field);
  } else if constexpr (std::is_arithmetic_v<T>) {
    return StrCat(field);
  } else if constexpr (std::convertible_to<T, std::string_view>) {
    return rule.is_json_text ? std::string(field) : Quoted(field);
  } else if constexpr (kIsOptional<T>) {
    return field ? TextOf(*field, rule) : "null";
  } else if constexpr (kIsList<T>) {
    std::vector<std::string> items;
    for (const auto& item : field) items.push_back(TextOf(item, rule));
    return StrCat("[", Join(items, ", "), "]");
  } else {
    return FieldsText(field);
  }
}

class TextWriter : public Visitor {
 public:
  template <class T>
  void operator()(std::string_view key, const T& field, const FieldRule& rule = {}) {
    if (!rule.is_written) return;
    if constexpr (kIsOptional<T>) {
      if (!field && !rule.null_when_empty) return;
    }
    Add(key, TextOf(field, rule));
  }
  template <class T>
  void operator()(std::string_view key, const T& field, const FieldRule& rule,
                  const std::type_identity_t<T>&) {
    (*this)(key, field, rule);
  }
  template <class Value>
  void Shown(std::string_view key, const Value& value) {
    Add(key, TextOf(ShownValue(value), {}));
  }
  template <class SomeFields>
  void Map(std::string_view key, const SomeFields& some_fields) {
    TextWriter inner;
    some_fields(inner);
    Add(key, inner.Take());
  }
  std::string Take() const { return StrCat("{", text_, "}"); }

 private:
  void Add(std::string_view key, std::string_view value) {
    if (!text_.empty()) text_ += ", ";
    text_ += StrCat(Quoted(key), ": ", value);
  }

  std::string text_;
};

template <class T>
constexpr std::string_view TypeNameOf() {
  if constexpr (std::same_as<T, bool>) {
    return "true or false";
  } else if constexpr (std::is_enum_v<T>) {
    return "name";
  } else if constexpr (std::integral<T>) {
    return "integer";
  } else if constexpr (std::floating_point<T>) {
    return "number";
  } else if constexpr (std::same_as<T, std::string>) {
    return "text";
  } else if constexpr (kIsList<T>) {
    return "list";
  } else {
    return "map";
  }
}

class Describer : public Visitor {
 public:
  template <class T>
  void operator()(std::string_view key, const T& field, const FieldRule& rule = {}) {
    FieldDescription description{std::string(key), std::string(TypeNameOf<T>()),
                                 TextOf(field, rule), "", std::string(rule.meaning)};
    if constexpr (std::is_enum_v<T>) {
      const EnumNames names = NamesOfEnum(T{});
      description.allowed =
          Join(std::vector<std::string>(names.names.begin(), names.names.end()), ", ");
    } else if (rule.range) {
      description.allowed = AllowedText(*rule.range, std::integral<T>);
      if (rule.infinite_as_none) description.allowed += ", none";
    }
    descriptions_.push_back(std::move(description));
  }
  // The default depends on other fields: the meaning says how.
  template <class T>
  void operator()(std::string_view key, const T& field, const FieldRule& rule,
                  const std::type_identity_t<T>&) {
    (*this)(key, field, rule);
  }
  template <class SomeFields>
  void Map(std::string_view key, const SomeFields& some_fields) {
    TextWriter defaults;
    some_fields(defaults);
    descriptions_.push_back({std::string(key), "map", defaults.Take(), "", ""});
  }
  std::vector<FieldDescription> Take() { return std::move(descriptions_); }

 private:
  std::vector<FieldDescription> descriptions_;
};

}  // namespace fields

// Reads what `yaml` says over `value`. Throws bad input for a key that the struct does not have
// (with the nearest one), and for values that are not of the field's type or range.
template <HasFields T>
void ReadFields(const Yaml& yaml, T& value) {
  yaml.RequireKnownKeys(KeysOf(value));
  fields::YamlReader reader(yaml);
  T::Fields(reader, value);
  if constexpr (HasValidate<T>) {
    At([&] { return yaml.place(); }, [&] { value.Validate(); });
  }
}

// Options of a method: what `yaml` says over the defaults; null means no options.
template <HasFields T>
T OptionsFrom(const Yaml* yaml) {
  T options;
  if (yaml != nullptr) ReadFields(*yaml, options);
  return options;
}

// Canonical JSON text, `{"damp": 0.01, "block": 128}`: what hashes of options
// are made of.
template <HasFields T>
std::string FieldsText(const T& value) {
  fields::TextWriter writer;
  T::Fields(writer, value);
  return writer.Take();
}

// The fields with the default values of the struct.
template <HasFields T>
std::vector<FieldDescription> DescribeFields() {
  fields::Describer describer;
  const T defaults{};
  T::Fields(describer, defaults);
  return describer.Take();
}

}  // namespace qualm
