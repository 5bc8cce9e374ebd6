// Values of a template: what Python has for them, as far as templates can make them. A Value is
// small and copied freely; texts, lists and the like are objects that an arena owns until the
// rendering (or, for literals, the template) ends. So values may refer to each other in circles,
// and nothing is destroyed by recursion.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace qualm::jinja {

enum class Kind : uint8_t {
  kAbsent,     // an argument that was not given; never seen by a template
  kUndefined,  // UndefinedObject
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,      // keys, values or items of a dict
  kIterator,  // what a generator or reversed() gives; it can be gone through once
  kNamespace,
  kMacro,
  kFunction,  // a global function or a method with its object
  kLoop,
  kCycler,
  kJoiner,
};

struct Object {
  virtual ~Object() = default;
};

struct Value {
  Kind kind = Kind::kAbsent;
  union {
    bool truth;
    int64_t integer = 0;
    double real;
    Object* object;
  };

  static Value None() {
    Value value;
    value.kind = Kind::kNone;
    return value;
  }
  static Value Bool(bool truth) {
    Value value;
    value.kind = Kind::kBool;
    value.integer = 0;
    value.truth = truth;
    return value;
  }
  static Value Int(int64_t integer) {
    Value value;
    value.kind = Kind::kInt;
    value.integer = integer;
    return value;
  }
  static Value Float(double real) {
    Value value;
    value.kind = Kind::kFloat;
    value.real = real;
    return value;
  }
  static Value Of(Kind kind, Object* object) {
    Value value;
    value.kind = kind;
    value.object = object;
    return value;
  }

  template <class T>
  T& As() const {
    return *static_cast<T*>(object);
  }
  bool Is(Kind one) const { return kind == one; }
  bool IsAbsent() const { return kind == Kind::kAbsent; }
  bool IsUndefined() const { return kind == Kind::kUndefined; }
  bool IsNone() const { return kind == Kind::kNone; }
  bool IsText() const { return kind == Kind::kText; }
  bool IsSequence() const { return kind == Kind::kList || kind == Kind::kTuple; }
  bool IsWhole() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool IsNumber() const { return IsWhole() || kind == Kind::kFloat; }
  // Requires: IsWhole.
  int64_t Whole() const { return kind == Kind::kBool ? (truth ? 1 : 0) : integer; }
  // Requires: IsNumber.
  double Real() const { return kind == Kind::kFloat ? real : static_cast<double>(Whole()); }
  // Requires: IsText.
  const std::string& Bytes() const;
  // Requires: IsSequence.
  std::vector<Value>& Items() const;
};

struct UndefinedObject : Object {
  std::string message;  // what is undefined, as jinja2 says it
};

struct TextObject : Object {
  std::string bytes;      // well-formed UTF-8
  size_t characters = 0;  // code points
  bool is_markup =
      false;  // made by the filters safe and escape: joined with others, it escapes them
};

struct ListObject : Object {  // kList, kTuple
  std::vector<Value> items;
  bool is_group = false;  // of groupby: the tuple has the attributes grouper and list
};

struct DictObject : Object {
  std::vector<std::pair<Value, Value>> items;     // in the order of insertion
  std::unordered_multimap<size_t, size_t> index;  // hash of a key: where it is in items
};

struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t Size() const;
};

struct ViewObject : Object {
  enum class Part { kKeys, kValues, kItems } part = Part::kKeys;
  DictObject* dict = nullptr;
};

struct IteratorObject : Object {
  std::vector<Value> items;
  size_t next = 0;
};

struct NamespaceObject : Object {
  Value attributes;  // a dict
};

struct CyclerObject : Object {
  std::vector<Value> items;
  size_t at = 0;
};

struct JoinerObject : Object {
  Value separator;
  bool is_used = false;
};

struct NativeFunction;

struct FunctionObject : Object {
  const NativeFunction* function = nullptr;
  Value self;
};

// Owns objects. Values that point to them are valid as long as the arena.
class Arena {
 public:
  template <class T>
  T* Make() {
    auto made = std::make_unique<T>();
    T* object = made.get();
    objects_.push_back(std::move(made));
    return object;
  }
  Value MakeText(std::string bytes, bool is_markup = false);

 private:
  std::vector<std::unique_ptr<Object>> objects_;
};

inline const std::string& Value::Bytes() const { return As<TextObject>().bytes; }
inline std::vector<Value>& Value::Items() const { return As<ListObject>().items; }

size_t CountCharacters(std::string_view text);
inline bool IsMarkup(const Value& value) {
  return value.IsText() && value.As<TextObject>().is_markup;
}
// As Python names the type: "str", "NoneType", "dict_items".
std::string_view TypeName(const Value& value);

// The arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

}  // namespace qualm::jinja
