// The tests after "is".
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

template <Operator sign>
Value ByOperator(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  return Value::Bool(Compare(runtime, sign, self, a[0]));
}

template <Kind... kinds>
Value OfKind(Runtime&, const Value& self, Bound&, Arguments&) {
  return Value::Bool((self.Is(kinds) || ...));
}

template <bool truth>
Value IsTruth(Runtime&, const Value& self, Bound&, Arguments&) {
  return Value::Bool(self.Is(Kind::kBool) && self.truth == truth);
}

bool Divides(Runtime& runtime, const Value& number, const Value& divisor, int64_t rest) {
  const Value got = Arithmetic(runtime, Operator::kModulo, number, divisor);
  return Equal(runtime, got, Value::Int(rest));
}

template <int64_t rest>
Value OfTwo(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return Value::Bool(Divides(runtime, self, Value::Int(2), rest));
}

Value DivisibleBy(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  return Value::Bool(Divides(runtime, self, a[0], 0));
}

template <CharacterFlag wanted>
Value OfCase(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return Value::Bool(IsOfCase(ToText(runtime, self), wanted));
}

// What has a length and elements by number or key.
Value Sequence(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  return Value::Bool(self.IsText() || self.IsSequence() || self.Is(Kind::kDict) ||
                     self.Is(Kind::kRange) ||
                     (self.IsUndefined() && !runtime.options().strict_undefined));
}

Value Iterable(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  if (self.IsUndefined()) CursorOf(runtime, self);
  return Value::Bool(IsIterable(self) || self.Is(Kind::kLoop));
}

// Whether it is the very same object. Small values are always the same as their like.
Value SameAs(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  const Value& other = a[0];
  if (self.kind != other.kind) return Value::Bool(false);
  if (self.IsNone()) return Value::Bool(true);
  if (self.IsNumber() || self.IsText()) return Value::Bool(Equal(runtime, self, other));
  return Value::Bool(self.object == other.object);
}

Value InTest(Runtime& runtime, const Value& self, Bound& a, Arguments&) {
  return Value::Bool(Contains(runtime, a[0], self));
}

void CheckName(Runtime& runtime, const Value& name) {
  if (!IsHashable(name)) runtime.Refuse("a name", TypeName(name));
}

Value KnownFilter(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  CheckName(runtime, self);
  if (!self.IsText()) return Value::Bool(false);
  const auto& own = runtime.options().filters;
  return Value::Bool(FindFilter(self.Bytes()) != nullptr ||
                     std::ranges::find(own, self.Bytes(), &JinjaFilter::name) != own.end());
}

Value KnownTest(Runtime& runtime, const Value& self, Bound&, Arguments&) {
  CheckName(runtime, self);
  return Value::Bool(self.IsText() && FindTest(self.Bytes()) != nullptr);
}

Value EscapedTest(Runtime&, const Value& self, Bound&, Arguments&) {
  return Value::Bool(IsMarkup(self));
}

Value Defined(Runtime&, const Value& self, Bound&, Arguments&) {
  return Value::Bool(!self.IsUndefined());
}

std::span<const NativeFunction> Tests() {
  // ADD A TEST: its name, the arguments after the value, the function.
  static constexpr NativeFunction kTests[] = {
      {"!=", "/ b", ByOperator<Operator::kNotEqual>},
      {"<", "/ b", ByOperator<Operator::kLess>},
      {"<=", "/ b", ByOperator<Operator::kLessEqual>},
      {"==", "/ b", ByOperator<Operator::kEqual>},
      {">", "/ b", ByOperator<Operator::kGreater>},
      {">=", "/ b", ByOperator<Operator::kGreaterEqual>},
      {"boolean", "", OfKind<Kind::kBool>},
      {"callable", "",
       OfKind<Kind::kMacro, Kind::kFunction, Kind::kLoop, Kind::kJoiner, Kind::kUndefined>},
      {"defined", "", Defined},
      {"divisibleby", "num", DivisibleBy},
      {"eq", "/ b", ByOperator<Operator::kEqual>},
      {"equalto", "/ b", ByOperator<Operator::kEqual>},
      {"escaped", "", EscapedTest},
      {"even", "", OfTwo<0>},
      {"false", "", IsTruth<false>},
      {"filter", "", KnownFilter},
      {"float", "", OfKind<Kind::kFloat>},
      {"ge", "/ b", ByOperator<Operator::kGreaterEqual>},
      {"greaterthan", "/ b", ByOperator<Operator::kGreater>},
      {"gt", "/ b", ByOperator<Operator::kGreater>},
      {"in", "seq", InTest},
      {"integer", "", OfKind<Kind::kInt>},
      {"iterable", "", Iterable},
      {"le", "/ b", ByOperator<Operator::kLessEqual>},
      {"lessthan", "/ b", ByOperator<Operator::kLess>},
      {"lower", "", OfCase<kLower>},
      {"lt", "/ b", ByOperator<Operator::kLess>},
      {"mapping", "", OfKind<Kind::kDict>},
      {"ne", "/ b", ByOperator<Operator::kNotEqual>},
      {"none", "", OfKind<Kind::kNone>},
      {"number", "", OfKind<Kind::kBool, Kind::kInt, Kind::kFloat>},
      {"odd", "", OfTwo<1>},
      {"sameas", "other", SameAs},
      {"sequence", "", Sequence},
      {"string", "", OfKind<Kind::kText>},
      {"test", "", KnownTest},
      {"true", "", IsTruth<true>},
      {"undefined", "", OfKind<Kind::kUndefined>},
      {"upper", "", OfCase<kUpper>},
  };
  return kTests;
}

}  // namespace

const NativeFunction* FindTest(std::string_view name) { return FindIn(Tests(), name); }

std::vector<std::string> TestNames() {
  std::vector<std::string> names;
  for (const NativeFunction& one : Tests()) names.emplace_back(one.name);
  return names;
}

}  // namespace qualm::jinja
