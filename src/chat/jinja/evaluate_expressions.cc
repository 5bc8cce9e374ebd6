// Evaluates expressions and calls.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/evaluator.h"
#include "chat/jinja/evaluator_parts.h"

namespace qualm::jinja {

Value Evaluator::Evaluate(const Expression& expression) {
  const Level level(*this);
  Step();
  line = expression.line;
  switch (expression.kind) {
    case Expression::Kind::kConstant:
      return expression.value;
    case Expression::Kind::kName:
      return Lookup(expression.symbol);
    case Expression::Kind::kList:
      return List(EvaluateAll(expression.parts));
    case Expression::Kind::kTuple:
      return Tuple(EvaluateAll(expression.parts));
    case Expression::Kind::kDict:
      return EvaluateDict(expression);
    case Expression::Kind::kChain:
      return EvaluateChain(expression);
    case Expression::Kind::kConcat:
      return EvaluateConcat(expression);
    case Expression::Kind::kCompare:
      return Value::Bool(EvaluateComparison(expression));
    case Expression::Kind::kAnd:
      return EvaluateLogical(expression, /*stops_at=*/false);
    case Expression::Kind::kOr:
      return EvaluateLogical(expression, /*stops_at=*/true);
    case Expression::Kind::kNot:
      return Value::Bool(!IsTrue(*this, Evaluate(expression.parts[0])));
    case Expression::Kind::kNegative:
      return Signed(*this, Evaluate(expression.parts[0]), /*is_negated=*/true);
    case Expression::Kind::kPositive:
      return Signed(*this, Evaluate(expression.parts[0]), /*is_negated=*/false);
    case Expression::Kind::kCondition:
      return EvaluateCondition(expression);
    case Expression::Kind::kPostfix:
      return WithSteps(Evaluate(expression.parts[0]), expression.steps);
  }
  return {};
}

std::vector<Value> Evaluator::EvaluateAll(const std::vector<Expression>& expressions) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const Expression& one : expressions) values.push_back(Evaluate(one));
  return values;
}

Value Evaluator::EvaluateDict(const Expression& expression) {
  const Value dict = Dict();
  for (size_t i = 0; i < expression.parts.size(); i += 2) {
    const Value key = Evaluate(expression.parts[i]);
    SetKey(*this, dict.As<DictObject>(), key, Evaluate(expression.parts[i + 1]));
  }
  return dict;
}

Value Evaluator::EvaluateChain(const Expression& expression) {
  Value value = Evaluate(expression.parts[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = Evaluate(expression.parts[i + 1]);
    value = Arithmetic(*this, expression.operators[i], value, right);
  }
  return value;
}

Value Evaluator::EvaluateConcat(const Expression& expression) {
  std::string text;
  for (const Expression& part : expression.parts) {
    const std::string piece = ToText(*this, Evaluate(part));
    Charge(piece.size());
    text += piece;
  }
  return Text(std::move(text));
}

bool Evaluator::EvaluateComparison(const Expression& expression) {
  Value left = Evaluate(expression.parts[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    const Value right = Evaluate(expression.parts[i + 1]);
    if (!Compare(*this, expression.operators[i], left, right)) return false;
    left = right;
  }
  return true;
}

// The first value whose truth is `stops_at`, else the last one.
Value Evaluator::EvaluateLogical(const Expression& expression, bool stops_at) {
  Value value;
  for (size_t i = 0; i < expression.parts.size(); ++i) {
    value = Evaluate(expression.parts[i]);
    if (i + 1 < expression.parts.size() && IsTrue(*this, value) == stops_at) break;
  }
  return value;
}

Value Evaluator::EvaluateCondition(const Expression& expression) {
  size_t i = 0;
  for (; i + 1 < expression.parts.size(); i += 2) {
    if (IsTrue(*this, Evaluate(expression.parts[i]))) return Evaluate(expression.parts[i + 1]);
  }
  if (i < expression.parts.size()) return Evaluate(expression.parts[i]);
  return Undefined(StrCat("the inline if-expression on line ", expression.line,
                          " evaluated to false and no else section was defined."));
}

// --- what follows a value

Value Evaluator::WithSteps(Value value, std::span<const Expression::Step> steps) {
  for (const Expression::Step& step : steps) {
    Step();
    value = WithStep(value, step);
  }
  return value;
}

Value Evaluator::WithStep(const Value& value, const Expression::Step& step) {
  using StepKind = Expression::Step::Kind;
  line = step.line;
  switch (step.kind) {
    case StepKind::kAttribute:
      return AttributeOf(*this, value, step.name);
    case StepKind::kElement: {
      const Value key = Evaluate(step.arguments[0]);
      return ElementOf(*this, value, key);
    }
    case StepKind::kSlice: {
      const std::vector<Value> parts = EvaluateAll(step.arguments);
      return SliceOf(*this, value, parts[0], parts[1], parts[2]);
    }
    default:
      break;
  }

  Arguments arguments = ArgumentsOf(step);
  line = step.line;
  if (step.kind == StepKind::kCall) return Call(value, arguments);
  if (step.kind == StepKind::kFilter) return ApplyFilter(*this, step.name, value, arguments);
  return Value::Bool(ApplyTest(*this, step.name, value, arguments) != step.is_negated);
}

Arguments Evaluator::ArgumentsOf(const Expression::Step& step) {
  Arguments arguments;
  std::vector<Value> values = EvaluateAll(step.arguments);
  const size_t unnamed = values.size() - step.names.size();
  for (size_t i = 0; i < step.names.size(); ++i) {
    arguments.named.emplace_back(step.names[i], values[unnamed + i]);
  }
  values.resize(unnamed);
  arguments.positional = std::move(values);

  for (const Expression& list : step.rest) {
    for (const Value& one : ItemsOf(*this, Evaluate(list))) arguments.positional.push_back(one);
  }
  for (const Expression& dict : step.named_rest) {
    const Value named = Evaluate(dict);
    if (!named.Is(Kind::kDict)) Refuse("a dict after '**'", TypeName(named));
    for (const auto& [key, value] : named.As<DictObject>().items) {
      TextArgument(*this, key, "the name of an argument");
      arguments.named.emplace_back(key.Bytes(), value);
    }
  }
  return arguments;
}

// --- calls

Value Evaluator::Call(const Value& callee, Arguments& arguments) {
  switch (callee.kind) {
    case Kind::kMacro:
      return CallMacro(callee.As<MacroObject>(), arguments);
    case Kind::kLoop:
      return CallLoop(callee.As<LoopObject>(), arguments);
    case Kind::kFunction:
      return RunNative(*this, *callee.As<FunctionObject>().function,
                       callee.As<FunctionObject>().self, arguments);
    case Kind::kJoiner: {
      auto& joiner = callee.As<JoinerObject>();
      return std::exchange(joiner.is_used, true) ? joiner.separator : Text("");
    }
    case Kind::kUndefined:
      Refuse("something to call", callee.As<UndefinedObject>().message);
    default:
      Refuse("something to call", TypeName(callee));
  }
}

Value Evaluator::CallMacro(const MacroObject& macro, Arguments& arguments) {
  const Level level(*this);
  std::string text;
  {
    const InnerScope inner(*this, macro.scope, macro.node->hidden);
    const Capture capture(*this, &text);
    BindMacro(macro, arguments, *scope_);
    Body(macro.node->bodies[0]);
  }
  return Text(std::move(text));
}

void Evaluator::BindMacro(const MacroObject& macro, Arguments& arguments, Scope& scope) {
  const Node& node = *macro.node;
  const size_t count = node.parameters.size();
  const size_t first_default = node.kind == Node::Kind::kCallBlock ? 1 : 0;
  const size_t defaults = node.expressions.size() - first_default;
  const std::string what = StrCat("macro '", node.text, "'");
  const auto take = [&](std::string_view name) {
    const auto found =
        std::ranges::find(arguments.named, name, &decltype(arguments.named)::value_type::first);
    if (found == arguments.named.end()) return Value();
    const Value value = found->second;
    arguments.named.erase(found);
    return value;
  };

  // Defaults see the parameters before them.
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = NameOf(node.parameters[i]);
    Value value = i < arguments.positional.size() ? arguments.positional[i] : take(name);
    if (value.IsAbsent()) {
      value = i + defaults >= count
                  ? Evaluate(node.expressions[first_default + i + defaults - count])
                  : Undefined(StrCat("parameter '", name, "' was not provided"));
    }
    Assign(scope, node.parameters[i], value);
  }

  // What the parameters leave goes where the body asks for it.
  const bool has_caller = std::ranges::any_of(
      node.parameters, [&](int parameter) { return NameOf(parameter) == "caller"; });
  if (node.uses_caller && !has_caller) {
    const Value caller = take("caller");
    Assign(scope, caller_symbol_, caller.IsAbsent() ? Undefined("No caller defined") : caller);
  }
  if (node.uses_kwargs) {
    const Value rest = Dict();
    for (const auto& [name, value] : arguments.named) {
      SetKey(*this, rest.As<DictObject>(), Text(std::string(name)), value);
    }
    Assign(scope, kwargs_symbol_, rest);
  } else if (!arguments.named.empty()) {
    Refuse(StrCat("arguments that ", what, " has"), StrCat("'", arguments.named[0].first, "'"));
  }
  if (node.uses_varargs) {
    const size_t taken = std::min(count, arguments.positional.size());
    Assign(scope, varargs_symbol_,
           Tuple({arguments.positional.begin() + static_cast<ptrdiff_t>(taken),
                  arguments.positional.end()}));
  } else if (arguments.positional.size() > count) {
    Refuse(StrCat("at most ", count, " arguments of ", what), StrCat(arguments.positional.size()));
  }
}

Value Evaluator::MacroAttribute(const MacroObject& macro, std::string_view name) {
  const Node& node = *macro.node;
  if (name == "name") return Text(node.text);
  if (name == "catch_kwargs") return Value::Bool(node.uses_kwargs);
  if (name == "catch_varargs") return Value::Bool(node.uses_varargs);
  if (name == "caller") return Value::Bool(node.uses_caller);
  if (name != "arguments") return {};
  std::vector<Value> names;
  for (const int parameter : node.parameters) names.push_back(Text(NameOf(parameter)));
  return Tuple(std::move(names));
}

void CheckNamespaceName(const Runtime& runtime, std::string_view name) {
  if (runtime.options().is_chat && name.starts_with('_')) {
    runtime.Refuse("names of a namespace that do not begin with '_'", StrCat("'", name, "'"));
  }
}

}  // namespace qualm::jinja
