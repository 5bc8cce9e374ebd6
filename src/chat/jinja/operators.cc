// Operators, attributes, elements and slices, as Python and jinja2's sandbox have them. Integers
// are of 64 bits: what would not fit is refused.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

std::string_view SignOf(Operator sign) {
  static constexpr std::string_view kSigns[] = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kSigns[static_cast<size_t>(sign)];
}

[[noreturn]] void RefuseOperands(const Runtime& runtime, Operator sign, const Value& left,
                                 const Value& right) {
  for (const Value* one : {&left, &right}) {
    if (one->IsUndefined()) runtime.Refuse("a value", one->As<UndefinedObject>().message);
  }
  runtime.Refuse(StrCat("values that '", SignOf(sign), "' is for"),
                 StrCat(TypeName(left), " and ", TypeName(right)));
}

[[noreturn]] void RefuseLargeInteger(const Runtime& runtime, Operator sign) {
  runtime.Refuse("integers of at most 64 bits", StrCat("more from '", SignOf(sign), "'"));
}

// --- numbers

Value IntegerPower(const Runtime& runtime, int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) runtime.Refuse("a base that is not 0", "0 to a negative power");
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  // Powers of -1, 0 and 1 never grow, so their exponent may be any.
  if (base == 0 || base == 1) return Value::Int(exponent == 0 ? 1 : base);
  if (base == -1) return Value::Int(exponent % 2 == 0 ? 1 : -1);
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) {
      RefuseLargeInteger(runtime, Operator::kPower);
    }
  }
  return Value::Int(result);
}

Value WholeArithmetic(const Runtime& runtime, Operator sign, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  switch (sign) {
    case Operator::kAdd:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kPower:
      return IntegerPower(runtime, a, b);
    case Operator::kDivide:
      if (b == 0) runtime.Refuse("a divisor that is not 0", "0");
      return Value::Float(static_cast<double>(a) / static_cast<double>(b));
    default: {  // rounded down
      if (b == 0) runtime.Refuse("a divisor that is not 0", "0");
      if (b == -1) {
        if (sign == Operator::kModulo) return Value::Int(0);
        overflows = __builtin_sub_overflow(int64_t{0}, a, &result);
        break;
      }
      const int64_t quotient = a / b, rest = a % b;
      const bool is_off = rest != 0 && (rest < 0) != (b < 0);
      result = sign == Operator::kModulo ? rest + (is_off ? b : 0) : quotient - (is_off ? 1 : 0);
      break;
    }
  }
  if (overflows) RefuseLargeInteger(runtime, sign);
  return Value::Int(result);
}

// Python's divmod of floats.
void FloorDivide(double a, double b, double* quotient, double* rest) {
  *rest = std::fmod(a, b);
  double whole = (a - *rest) / b;
  if (*rest != 0) {
    if ((b < 0) != (*rest < 0)) {
      *rest += b;
      whole -= 1;
    }
  } else {
    *rest = std::copysign(0.0, b);
  }
  if (whole == 0) {
    *quotient = std::copysign(0.0, a / b);
    return;
  }
  *quotient = std::floor(whole);
  if (whole - *quotient > 0.5) *quotient += 1;
}

Value RealArithmetic(const Runtime& runtime, Operator sign, double a, double b) {
  switch (sign) {
    case Operator::kAdd:
      return Value::Float(a + b);
    case Operator::kSubtract:
      return Value::Float(a - b);
    case Operator::kMultiply:
      return Value::Float(a * b);
    case Operator::kPower: {
      if (a == 0 && b < 0) runtime.Refuse("a base that is not 0", "0 to a negative power");
      if (a < 0 && std::isfinite(b) && b != std::floor(b)) {
        runtime.Refuse("a power that is a real number", "a negative number to a fraction");
      }
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
        runtime.Refuse("a power that is not too large", "more than the largest number");
      }
      return Value::Float(result);
    }
    default:
      break;
  }

  if (b == 0) runtime.Refuse("a divisor that is not 0", "0");
  if (sign == Operator::kDivide) return Value::Float(a / b);
  double quotient = 0, rest = 0;
  FloorDivide(a, b, &quotient, &rest);
  return Value::Float(sign == Operator::kModulo ? rest : quotient);
}

// --- texts and lists

Value Repeat(Runtime& runtime, const Value& value, int64_t count) {
  const auto times = static_cast<uint64_t>(std::max<int64_t>(count, 0));
  const size_t size = value.IsText() ? value.Bytes().size() : value.Items().size() * sizeof(Value);
  if (size != 0 && times > std::numeric_limits<size_t>::max() / size) {
    runtime.Charge(std::numeric_limits<size_t>::max() / 2);
  }
  runtime.Charge(size * times);

  if (value.IsText()) {
    std::string text;
    for (uint64_t i = 0; i < times && size != 0; ++i) text += value.Bytes();
    return runtime.Text(std::move(text), IsMarkup(value));
  }
  std::vector<Value> items;
  for (uint64_t i = 0; i < times && size != 0; ++i) {
    items.insert(items.end(), value.Items().begin(), value.Items().end());
  }
  return value.Is(Kind::kList) ? runtime.List(std::move(items)) : runtime.Tuple(std::move(items));
}

Value Joined(Runtime& runtime, const Value& left, const Value& right) {
  if (left.IsText()) {
    const bool is_markup = IsMarkup(left) || IsMarkup(right);
    runtime.Charge(left.Bytes().size() + right.Bytes().size());
    return runtime.Text(is_markup ? EscapeHtml(runtime, left) + EscapeHtml(runtime, right)
                                  : left.Bytes() + right.Bytes(),
                        is_markup);
  }
  runtime.Charge((left.Items().size() + right.Items().size()) * sizeof(Value));
  std::vector<Value> items = left.Items();
  items.insert(items.end(), right.Items().begin(), right.Items().end());
  return left.Is(Kind::kList) ? runtime.List(std::move(items)) : runtime.Tuple(std::move(items));
}

// --- attributes

std::string MissingMessage(Runtime& runtime, const Value& value, const Value& key) {
  const std::string type = value.IsNone() ? "None" : StrCat(TypeName(value), " object");
  if (key.IsText()) return StrCat("'", type, "' has no attribute ", Repr(runtime, key));
  return StrCat(type, " has no element ", Repr(runtime, key));
}

Value Missing(Runtime& runtime, const Value& value, const Value& key) {
  return runtime.Undefined(MissingMessage(runtime, value, key));
}

// value[key] of Python; absent where it raises LookupError or TypeError.
Value TypeElement(Runtime& runtime, const Value& value, const Value& key) {
  if (value.Is(Kind::kDict)) {
    if (!IsHashable(key)) return {};
    const Value* found = FindKey(runtime, value.As<DictObject>(), key);
    return found != nullptr ? *found : Value();
  }
  const bool has_places = value.IsText() || value.IsSequence() || value.Is(Kind::kRange);
  if (!has_places || !key.IsWhole()) return {};

  const int64_t size = SizeOf(runtime, value);
  int64_t at = key.Whole();
  if (at < 0) at += size;
  if (at < 0 || at >= size) return {};
  if (value.IsSequence()) return value.Items()[static_cast<size_t>(at)];
  if (value.IsText()) {
    return SliceOf(runtime, value, Value::Int(at), Value::Int(at + 1), Value::None());
  }
  const auto& range = value.As<RangeObject>();
  return Value::Int(range.start + at * range.step);
}

// --- slices

struct Places {
  int64_t start, step, count;
};

Places PlacesOf(Runtime& runtime, const Value& start, const Value& stop, const Value& step,
                int64_t size) {
  const auto is_left_out = [](const Value& one) { return one.IsAbsent() || one.IsNone(); };
  const int64_t by = is_left_out(step) ? 1 : IntArgument(runtime, step, "the step of a slice");
  if (by == 0) runtime.Refuse("a step of a slice that is not 0", "0");

  // As PySlice_AdjustIndices.
  const auto place = [&](const Value& one, int64_t otherwise) {
    if (is_left_out(one)) return otherwise;
    int64_t at = IntArgument(runtime, one, "an end of a slice");
    if (at < 0) at += size;
    return std::clamp<int64_t>(at, by < 0 ? -1 : 0, by < 0 ? size - 1 : size);
  };
  const int64_t first = place(start, by < 0 ? size - 1 : 0);
  const int64_t end = place(stop, by < 0 ? -1 : size);
  if (by > 0) return {first, by, first < end ? (end - first - 1) / by + 1 : 0};
  // The step may be the smallest integer, which has no opposite.
  const auto width = 0 - static_cast<uint64_t>(by);
  return {
      first, by,
      end < first ? static_cast<int64_t>(static_cast<uint64_t>(first - end - 1) / width) + 1 : 0};
}

}  // namespace

Value Arithmetic(Runtime& runtime, Operator sign, const Value& left, const Value& right) {
  if (left.IsWhole() && right.IsWhole()) {
    return WholeArithmetic(runtime, sign, left.Whole(), right.Whole());
  }
  if (left.IsNumber() && right.IsNumber()) {
    return RealArithmetic(runtime, sign, left.Real(), right.Real());
  }
  const auto is_repeatable = [](const Value& one) { return one.IsText() || one.IsSequence(); };
  if (sign == Operator::kAdd && is_repeatable(left) && left.kind == right.kind) {
    return Joined(runtime, left, right);
  }
  if (sign == Operator::kMultiply && is_repeatable(left) && right.IsWhole()) {
    return Repeat(runtime, left, right.Whole());
  }
  if (sign == Operator::kMultiply && is_repeatable(right) && left.IsWhole()) {
    return Repeat(runtime, right, left.Whole());
  }
  if (sign == Operator::kModulo && left.IsText()) {
    return runtime.Text(PercentFormat(runtime, left.Bytes(), right, IsMarkup(left)),
                        IsMarkup(left));
  }
  RefuseOperands(runtime, sign, left, right);
}

bool Compare(Runtime& runtime, Operator sign, const Value& left, const Value& right) {
  switch (sign) {
    case Operator::kEqual:
      return Equal(runtime, left, right);
    case Operator::kNotEqual:
      return !Equal(runtime, left, right);
    case Operator::kIn:
      return Contains(runtime, right, left);
    case Operator::kNotIn:
      return !Contains(runtime, right, left);
    case Operator::kLess:
      return Less(runtime, left, right);
    case Operator::kGreater:
      return Less(runtime, right, left);
    case Operator::kLessEqual:
      return Less(runtime, left, right) || Equal(runtime, left, right);
    default:
      return Less(runtime, right, left) || Equal(runtime, left, right);
  }
}

Value Signed(Runtime& runtime, const Value& value, bool is_negated) {
  if (value.Is(Kind::kFloat)) return Value::Float(is_negated ? -value.real : value.real);
  if (value.IsUndefined()) runtime.Refuse("a number", value.As<UndefinedObject>().message);
  if (!value.IsWhole()) runtime.Refuse("a number after a sign", TypeName(value));
  if (!is_negated) return Value::Int(value.Whole());
  return WholeArithmetic(runtime, Operator::kSubtract, 0, value.Whole());
}

bool Contains(Runtime& runtime, const Value& container, const Value& element) {
  if (container.IsText()) {
    if (!element.IsText()) RefuseOperands(runtime, Operator::kIn, element, container);
    runtime.Step(1 + container.Bytes().size() / 64);
    return container.Bytes().find(element.Bytes()) != std::string::npos;
  }
  if (container.Is(Kind::kDict)) {
    return FindKey(runtime, container.As<DictObject>(), element) != nullptr;
  }
  if (!IsIterable(container)) RefuseOperands(runtime, Operator::kIn, element, container);

  Cursor cursor = CursorOf(runtime, container);
  Value one;
  while (Next(runtime, cursor, &one)) {
    if (Equal(runtime, one, element)) return true;
  }
  return false;
}

Value TypeAttribute(Runtime& runtime, const Value& value, std::string_view name) {
  const NativeFunction* mutator = FindMutator(value, name);
  const bool is_internal = name.starts_with("__") && name.ends_with("__");
  if (is_internal || (mutator != nullptr && runtime.options().is_sandboxed)) {
    return runtime.Undefined(
        StrCat("access to attribute '", name, "' of '", TypeName(value), "' object is unsafe."));
  }
  const NativeFunction* method = mutator != nullptr ? mutator : FindMethod(value, name);
  if (method != nullptr) {
    auto* function = runtime.New<FunctionObject>();
    function->function = method;
    function->self = value;
    return Value::Of(Kind::kFunction, function);
  }

  switch (value.kind) {
    case Kind::kNamespace: {
      const Value* found = FindKey(runtime, value.As<NamespaceObject>().attributes.As<DictObject>(),
                                   runtime.Text(std::string(name)));
      return found != nullptr ? *found : Value();
    }
    case Kind::kTuple:
      if (!value.As<ListObject>().is_group) return {};
      if (name == "grouper") return value.Items()[0];
      if (name == "list") return value.Items()[1];
      return {};
    case Kind::kCycler:
      if (name != "current") return {};
      return value.As<CyclerObject>().items[value.As<CyclerObject>().at];
    case Kind::kLoop:
    case Kind::kMacro:
      return runtime.ObjectAttribute(value, name);
    default:
      return {};
  }
}

Value AttributeOf(Runtime& runtime, const Value& value, std::string_view name) {
  const bool is_internal = name.starts_with("__") && name.ends_with("__");
  if (value.IsUndefined() && !is_internal)
    runtime.Refuse("a value", value.As<UndefinedObject>().message);
  Value found = TypeAttribute(runtime, value, name);
  if (!found.IsAbsent()) return found;

  const Value key = runtime.Text(std::string(name));
  found = TypeElement(runtime, value, key);
  return found.IsAbsent() ? Missing(runtime, value, key) : found;
}

Value ElementOf(Runtime& runtime, const Value& value, const Value& key) {
  if (value.IsUndefined()) runtime.Refuse("a value", value.As<UndefinedObject>().message);
  Value found = TypeElement(runtime, value, key);
  if (found.IsAbsent() && key.IsText()) found = TypeAttribute(runtime, value, key.Bytes());
  return found.IsAbsent() ? Missing(runtime, value, key) : found;
}

Value SliceOf(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
              const Value& step) {
  if (value.IsUndefined()) runtime.Refuse("a value", value.As<UndefinedObject>().message);
  if (!value.IsText() && !value.IsSequence() && !value.Is(Kind::kRange)) {
    runtime.Refuse("a list or a text to slice", TypeName(value));
  }
  const Places places = PlacesOf(runtime, start, stop, step, SizeOf(runtime, value));
  runtime.Step(1 + static_cast<uint64_t>(places.count) / 16);
  if (value.Is(Kind::kRange)) {
    const auto& range = value.As<RangeObject>();
    auto* made = runtime.New<RangeObject>();
    made->start = range.start + places.start * range.step;
    made->step = range.step * places.step;
    made->stop = made->start + places.count * made->step;
    return Value::Of(Kind::kRange, made);
  }
  if (value.IsSequence()) {
    std::vector<Value> items;
    for (int64_t i = 0; i < places.count; ++i) {
      items.push_back(value.Items()[static_cast<size_t>(places.start + i * places.step)]);
    }
    return value.Is(Kind::kList) ? runtime.List(std::move(items)) : runtime.Tuple(std::move(items));
  }

  const auto& text = value.As<TextObject>();
  std::string sliced;
  if (text.characters == text.bytes.size()) {
    for (int64_t i = 0; i < places.count; ++i) {
      sliced += text.bytes[static_cast<size_t>(places.start + i * places.step)];
    }
  } else {
    runtime.Step(text.bytes.size() / 64);
    const std::u32string points = PointsOf(text.bytes);
    for (int64_t i = 0; i < places.count; ++i) {
      AppendUtf8(points[static_cast<size_t>(places.start + i * places.step)], sliced);
    }
  }
  return runtime.Text(std::move(sliced), text.is_markup);
}

}  // namespace qualm::jinja
