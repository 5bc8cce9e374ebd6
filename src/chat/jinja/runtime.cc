// The budget of a rendering, values in its arena, and the binding of arguments to parameters.
#include "chat/jinja/runtime.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace qualm::jinja {
namespace {

constexpr uint64_t kStepsAtLeast = 10000000, kStepsPerInputByte = 8;
constexpr size_t kBytesAtLeast = size_t{64} << 20;
constexpr size_t kBytesPerInputByte = 64;

struct Parameter {
  std::string_view name;
  bool is_optional = false;
  bool is_positional = false;
};

// The names between the blanks of a NativeFunction's parameters.
std::vector<Parameter> ParametersOf(std::string_view text) {
  std::vector<Parameter> parameters;
  bool is_positional = false;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    Parameter one{text.substr(0, end), false, is_positional};
    text.remove_prefix(std::min(end + 1, text.size()));
    if (one.name == "/") {
      is_positional = true;
      continue;
    }
    one.is_optional = one.name.ends_with('?');
    if (one.is_optional) one.name.remove_suffix(1);
    parameters.push_back(one);
  }
  return parameters;
}

}  // namespace

Runtime::Runtime(std::string_view place, const JinjaOptions& options, size_t input_bytes)
    : place_(place),
      options_(options),
      most_steps_(kStepsAtLeast + kStepsPerInputByte * input_bytes),
      most_bytes_(kBytesAtLeast + kBytesPerInputByte * input_bytes) {}

void Runtime::Refuse(std::string_view expected, std::string_view got) const {
  ThrowBadInput(StrCat(place_, ":", line), expected, got);
}

void Runtime::Step(uint64_t count) {
  steps_ += count;
  if (steps_ > most_steps_) {
    Refuse(StrCat("a template that renders in at most ", most_steps_ / 1000000, " million steps"),
           "more");
  }
}

void Runtime::Charge(size_t bytes) {
  if (bytes > most_bytes_ - bytes_) {
    Refuse(StrCat("a template that makes at most ", most_bytes_ >> 20, " MiB of values and text"),
           "more");
  }
  bytes_ += bytes;
}

Value Runtime::Text(std::string bytes, bool is_markup) {
  Charge(sizeof(TextObject) + 16 + bytes.size());
  return arena_.MakeText(std::move(bytes), is_markup);
}

Value Runtime::List(std::vector<Value> items) {
  Charge(items.size() * sizeof(Value));
  auto* list = New<ListObject>();
  list->items = std::move(items);
  return Value::Of(Kind::kList, list);
}

Value Runtime::Tuple(std::vector<Value> items) {
  Value made = List(std::move(items));
  made.kind = Kind::kTuple;
  return made;
}

Value Runtime::Dict() { return Value::Of(Kind::kDict, New<DictObject>()); }

Value Runtime::Iterator(std::vector<Value> items) {
  Charge(items.size() * sizeof(Value));
  auto* iterator = New<IteratorObject>();
  iterator->items = std::move(items);
  return Value::Of(Kind::kIterator, iterator);
}

Value Runtime::Undefined(std::string message) {
  auto* made = New<UndefinedObject>();
  made->message = std::move(message);
  return Value::Of(Kind::kUndefined, made);
}

Value Runtime::FromJson(const Json& json, int depth) {
  if (depth > kDeepestValue) Refuse("variables of at most 200 levels", "more");
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value::Bool(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::Int(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) Refuse("integers of at most 64 bits", json.dump());
      return Value::Int(json.get<int64_t>());
    case Json::value_t::number_float:
      return Value::Float(json.get<double>());
    case Json::value_t::string: {
      const auto& bytes = json.get_ref<const std::string&>();
      if (!IsValidUtf8(bytes)) Refuse("variables in UTF-8", "other bytes");
      return Text(bytes);
    }
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& one : json) items.push_back(FromJson(one, depth + 1));
      return List(std::move(items));
    }
    case Json::value_t::object: {
      const Value dict = Dict();
      for (const auto& [name, one] : json.items()) {
        SetKey(*this, dict.As<DictObject>(), Text(name), FromJson(one, depth + 1));
      }
      return dict;
    }
    default:
      return Value::None();
  }
}

Json Runtime::ToJson(const Value& value, int depth) {
  Step();
  if (depth > kDeepestValue) Refuse("values of at most 200 levels", "more");
  switch (value.kind) {
    case Kind::kNone:
      return nullptr;
    case Kind::kBool:
      return value.truth;
    case Kind::kInt:
      return value.integer;
    case Kind::kFloat:
      return value.real;
    case Kind::kText:
      return value.Bytes();
    case Kind::kList:
    case Kind::kTuple: {
      Json list = Json::array();
      for (const Value& one : value.Items()) list.push_back(ToJson(one, depth + 1));
      return list;
    }
    case Kind::kDict: {
      Json object = Json::object();
      for (const auto& [key, one] : value.As<DictObject>().items) {
        object[TextArgument(*this, key, "key")] = ToJson(one, depth + 1);
      }
      return object;
    }
    default:
      Refuse("a value that JSON has", TypeName(value));
  }
}

std::vector<Value> Bind(Runtime& runtime, std::string_view function, std::string_view parameters,
                        const Arguments& arguments) {
  if (parameters == "*") return {};
  const std::vector<Parameter> all = ParametersOf(parameters);
  if (arguments.positional.size() > all.size()) {
    runtime.Refuse(StrCat("at most ", all.size(), " arguments of '", function, "'"),
                   StrCat(arguments.positional.size()));
  }

  std::vector<Value> bound = arguments.positional;
  bound.resize(all.size());
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::ranges::find_if(all, [&, wanted = name](const Parameter& one) {
      return one.name == wanted && !one.is_positional;
    });
    if (found == all.end()) {
      runtime.Refuse(StrCat("arguments that '", function, "' has"), StrCat("'", name, "'"));
    }
    Value& place = bound[static_cast<size_t>(found - all.begin())];
    if (!place.IsAbsent()) {
      runtime.Refuse(StrCat("one value for '", name, "' of '", function, "'"), "two");
    }
    place = value;
  }

  for (size_t i = 0; i < all.size(); ++i) {
    if (bound[i].IsAbsent() && !all[i].is_optional) {
      runtime.Refuse(StrCat("the argument '", all[i].name, "' of '", function, "'"), "none");
    }
  }
  return bound;
}

Value RunNative(Runtime& runtime, const NativeFunction& function, const Value& self,
                Arguments& arguments) {
  // Whatever a function does with a text, it looks at all of it.
  if (self.IsText()) runtime.Step(self.Bytes().size() / kBytesPerStep);
  std::vector<Value> bound = Bind(runtime, function.name, function.parameters, arguments);
  return function.run(runtime, self, bound, arguments);
}

std::string TextArgument(Runtime& runtime, const Value& value, std::string_view what) {
  if (!value.IsText()) runtime.Refuse(StrCat("a text as ", what), TypeName(value));
  return value.Bytes();
}

int64_t IntArgument(Runtime& runtime, const Value& value, std::string_view what) {
  if (!value.IsWhole()) runtime.Refuse(StrCat("an integer as ", what), TypeName(value));
  return value.Whole();
}

}  // namespace qualm::jinja
