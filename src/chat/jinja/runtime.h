// What is shared by all that happens in one rendering: the arena of its values, its budget, the
// line that errors name, and the way back into the evaluator for calls.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja.h"
#include "chat/jinja/value.h"

namespace qualm::jinja {

class Runtime;

// A filter, test, method or function that is written in C++.
struct NativeFunction {
  const char* name;
  // Names of the arguments after the value, with spaces between. "a?" may be left out, all names
  // after "/" can only be given by position, and "*" takes any arguments (they are not bound).
  const char* parameters;
  // `self` is the value or object; `bound` has one value for each parameter (kAbsent: not given);
  // `all` is what was given.
  Value (*run)(Runtime& runtime, const Value& self, std::vector<Value>& bound, Arguments& all);
};

class Runtime {
 public:
  // `input_bytes` (of the template and its variables) scales the budgets of steps and bytes. The
  // place and the options must outlive it.
  Runtime(std::string_view place, const JinjaOptions& options, size_t input_bytes);
  virtual ~Runtime() = default;

  // Throws bad input at the line that is being evaluated.
  [[noreturn]] void Refuse(std::string_view expected, std::string_view got) const;
  // Counts work; throws bad input if the rendering takes too many steps or makes too many bytes.
  void Step(uint64_t count = 1);
  void Charge(size_t bytes);

  const JinjaOptions& options() const { return options_; }
  int line = 0;

  // Values made in the arena of the rendering.
  Value Text(std::string bytes, bool is_markup = false);
  Value List(std::vector<Value> items);
  Value Tuple(std::vector<Value> items);
  Value Dict();
  Value Iterator(std::vector<Value> items);
  Value Undefined(std::string message);
  template <class T>
  T* New() {
    Charge(sizeof(T) + 16);
    return arena_.Make<T>();
  }
  Value FromJson(const Json& json, int depth = 0);
  Json ToJson(const Value& value, int depth = 0);  // for filters that are not Jinja's own

  // Calls what a template can call; throws bad input for other values.
  virtual Value Call(const Value& callee, Arguments& arguments) = 0;
  // An attribute of a loop or macro; absent if it has none of that name.
  virtual Value ObjectAttribute(const Value& object, std::string_view name) = 0;
  virtual int64_t LoopSize(const Value& loop) = 0;

 private:
  std::string_view place_;
  const JinjaOptions& options_;
  Arena arena_;
  uint64_t steps_ = 0, most_steps_;
  size_t bytes_ = 0, most_bytes_;
};

// Bytes of a text that are looked at in the time of a step.
inline constexpr size_t kBytesPerStep = 16;

// Nesting that recursive walks over values accept; a template could build deeper ones in a loop.
inline constexpr int kDeepestValue = 200;

// One value for each of `parameters` (see NativeFunction), kAbsent where none was given. Throws bad
// input for arguments that are missing, too many or unknown.
std::vector<Value> Bind(Runtime& runtime, std::string_view function, std::string_view parameters,
                        const Arguments& arguments);
// Binds and runs.
Value RunNative(Runtime& runtime, const NativeFunction& function, const Value& self,
                Arguments& arguments);

// --- what Python does with values

bool IsTrue(Runtime& runtime, const Value& value);
bool Equal(Runtime& runtime, const Value& a, const Value& b, int depth = 0);
// a < b; throws bad input for values that have no order.
bool Less(Runtime& runtime, const Value& a, const Value& b, int depth = 0);
std::string ToText(Runtime& runtime, const Value& value);               // str()
std::string Repr(Runtime& runtime, const Value& value, int depth = 0);  // repr()
std::string FloatText(double value);

// Keys are as Python's: 1, 1.0 and true are the same one. Throw bad input for keys that cannot be
// hashed.
bool IsHashable(const Value& value);
const Value* FindKey(Runtime& runtime, const DictObject& dict, const Value& key);
void SetKey(Runtime& runtime, DictObject& dict, const Value& key, const Value& value);
bool EraseKey(Runtime& runtime, DictObject& dict, const Value& key);

// Goes through what can be gone through: characters, elements, keys. An iterator is used up.
struct Cursor {
  Value source;
  size_t at = 0;
};
bool IsIterable(const Value& value);
// Throws bad input for a value that cannot be gone through.
Cursor CursorOf(Runtime& runtime, const Value& value);
bool Next(Runtime& runtime, Cursor& cursor, Value* element);
std::vector<Value> ItemsOf(Runtime& runtime, const Value& value);
// len(); -1 for values without one.
int64_t SizeOf(Runtime& runtime, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  Value indent = Value::None();  // none, a number of blanks or a text
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};
// As json.dumps.
std::string DumpJson(Runtime& runtime, const Value& value, const JsonStyle& style);

// --- operators

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};
Value Arithmetic(Runtime& runtime, Operator sign, const Value& left, const Value& right);
bool Compare(Runtime& runtime, Operator sign, const Value& left, const Value& right);
Value Signed(Runtime& runtime, const Value& value, bool is_negated);
bool Contains(Runtime& runtime, const Value& container, const Value& element);

// value.name and value[key], as jinja2's sandbox has them; undefined where there is none.
Value AttributeOf(Runtime& runtime, const Value& value, std::string_view name);
Value ElementOf(Runtime& runtime, const Value& value, const Value& key);
// An attribute of the value's type (a method) or of a namespace; absent if there is none.
Value TypeAttribute(Runtime& runtime, const Value& value, std::string_view name);
// The parts are kAbsent or kNone where they are left out.
Value SliceOf(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
              const Value& step);

// format % values, and format.format(...). What is put into a text that is markup is escaped.
std::string PercentFormat(Runtime& runtime, std::string_view format, const Value& values,
                          bool is_markup);
std::string BraceFormat(Runtime& runtime, std::string_view format, const Arguments& arguments,
                        bool is_markup);

// --- tables

const NativeFunction* FindMethod(const Value& value, std::string_view name);
// Methods that change a list or dict.
const NativeFunction* FindMutator(const Value& value, std::string_view name);
const NativeFunction* FindFilter(std::string_view name);
const NativeFunction* FindTest(std::string_view name);
const NativeFunction* FindGlobal(std::string_view name, bool is_chat);
std::vector<std::string> FilterNames();
std::vector<std::string> TestNames();

// Also the filters of the options. Throw bad input for names that are not known.
Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& value,
                  Arguments& arguments);
bool ApplyTest(Runtime& runtime, std::string_view name, const Value& value, Arguments& arguments);

// Escapes for HTML unless the value is markup already.
std::string EscapeHtml(Runtime& runtime, const Value& value);

// --- arguments of functions

std::string TextArgument(Runtime& runtime, const Value& value, std::string_view what);
int64_t IntArgument(Runtime& runtime, const Value& value, std::string_view what);
inline Value Or(const Value& given, const Value& otherwise) {
  return given.IsAbsent() ? otherwise : given;
}

}  // namespace qualm::jinja
