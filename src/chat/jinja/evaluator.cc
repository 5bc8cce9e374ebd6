// Walks statements: text goes out, variables are set, loops and macros run.
#include "chat/jinja/evaluator.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "chat/jinja/evaluator_parts.h"

namespace qualm::jinja {

Evaluator::Evaluator(const Syntax& syntax, std::string_view place, const JinjaOptions& options,
                     size_t input_bytes)
    : Runtime(place, options, input_bytes),
      syntax_(syntax),
      root_(New<Scope>()),
      scope_(root_),
      loop_symbol_(SymbolOf("loop")),
      caller_symbol_(SymbolOf("caller")),
      varargs_symbol_(SymbolOf("varargs")),
      kwargs_symbol_(SymbolOf("kwargs")) {}

std::string Evaluator::Run(const Json& variables) {
  line = 1;
  for (const auto& [name, value] : variables.items()) {
    const int symbol = SymbolOf(name);
    if (symbol >= 0) Assign(*root_, symbol, FromJson(value));
  }
  Hide(syntax_.hidden);
  Body(syntax_.body);
  return std::move(text_);
}

int Evaluator::SymbolOf(std::string_view name) const {
  const auto found = std::ranges::find(syntax_.symbols, name);
  return found == syntax_.symbols.end() ? -1 : static_cast<int>(found - syntax_.symbols.begin());
}

// --- statements

Evaluator::Flow Evaluator::Body(const std::vector<Node>& nodes) {
  const Level level(*this);
  for (const Node& node : nodes) {
    const Flow flow = Execute(node);
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Evaluator::Flow Evaluator::Execute(const Node& node) {
  line = node.line;
  Step();
  switch (node.kind) {
    case Node::Kind::kText:
      Write(node.text);
      break;
    case Node::Kind::kOutput:
      Output(node);
      break;
    case Node::Kind::kFor:
      return For(node, Evaluate(node.expressions[0]), scope_, /*depth0=*/0);
    case Node::Kind::kIf:
      return If(node);
    case Node::Kind::kSet:
      Assign(*scope_, node.target, Evaluate(node.expressions[0]));
      break;
    case Node::Kind::kSetBlock:
      return SetBlock(node);
    case Node::Kind::kMacro: {
      auto* macro = New<MacroObject>();
      macro->node = &node;
      macro->scope = scope_;
      Assign(*scope_, node.symbol, Value::Of(Kind::kMacro, macro));
      break;
    }
    case Node::Kind::kCallBlock:
      CallBlock(node);
      break;
    case Node::Kind::kFilterBlock:
      return FilterBlock(node);
    case Node::Kind::kWith:
      With(node);
      break;
    case Node::Kind::kScope:
      return Scoped(node, scope_);
    case Node::Kind::kBlock:
      return Scoped(node, root_);
    case Node::Kind::kBreak:
      return Flow::kBreak;
    case Node::Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

void Evaluator::Write(std::string_view text) {
  Charge(text.size());
  out_->append(text);
}

void Evaluator::Output(const Node& node) {
  for (const Expression& expression : node.expressions) {
    const Value value = Evaluate(expression);
    line = node.line;
    Write(ToText(*this, value));
  }
}

Evaluator::Flow Evaluator::If(const Node& node) {
  for (size_t i = 0; i < node.expressions.size(); ++i) {
    if (IsTrue(*this, Evaluate(node.expressions[i]))) return Body(node.bodies[i]);
  }
  return Body(node.bodies.back());
}

Evaluator::Flow Evaluator::Scoped(const Node& node, Scope* parent) {
  const InnerScope inner(*this, parent, node.hidden);
  return Body(node.bodies[0]);
}

Evaluator::Flow Evaluator::SetBlock(const Node& node) {
  std::string text;
  {
    const InnerScope inner(*this, scope_, node.hidden);
    const Capture capture(*this, &text);
    const Flow flow = Body(node.bodies[0]);
    if (flow != Flow::kOn) return flow;
  }
  line = node.line;
  Assign(*scope_, node.target, WithSteps(Text(std::move(text)), node.filters[0].steps));
  return Flow::kOn;
}

Evaluator::Flow Evaluator::FilterBlock(const Node& node) {
  const InnerScope inner(*this, scope_, node.hidden);
  std::string text;
  {
    const Capture capture(*this, &text);
    const Flow flow = Body(node.bodies[0]);
    if (flow != Flow::kOn) return flow;
  }
  line = node.line;
  Write(ToText(*this, WithSteps(Text(std::move(text)), node.filters[0].steps)));
  return Flow::kOn;
}

void Evaluator::With(const Node& node) {
  // The values do not see each other's names.
  const std::vector<Value> values = EvaluateAll(node.expressions);
  const InnerScope inner(*this, scope_, node.hidden);
  for (size_t i = 0; i < values.size(); ++i) Assign(*scope_, node.target.parts[i], values[i]);
  Body(node.bodies[0]);
}

void Evaluator::CallBlock(const Node& node) {
  auto* caller = New<MacroObject>();
  caller->node = &node;
  caller->scope = scope_;

  // The call is the last step of its expression; it gets one more argument.
  const Expression& call = node.expressions[0];
  const std::span before(call.steps.data(), call.steps.size() - 1);
  const Value callee = WithSteps(Evaluate(call.parts[0]), before);
  Arguments arguments = ArgumentsOf(call.steps.back());
  arguments.named.emplace_back("caller", Value::Of(Kind::kMacro, caller));
  line = node.line;
  Write(ToText(*this, Call(callee, arguments)));
}

// --- variables

Value Evaluator::Lookup(int symbol) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    Step(scope->variables.size() / kBytesPerStep);
    for (const auto& [number, value] : scope->variables) {
      if (number != symbol) continue;
      if (!value.IsAbsent()) return value;
      return Undefined(StrCat("'", NameOf(symbol), "' is undefined"));
    }
  }

  const std::string& name = NameOf(symbol);
  if (const NativeFunction* global = FindGlobal(name, options().is_chat)) {
    auto* function = New<FunctionObject>();
    function->function = global;
    return Value::Of(Kind::kFunction, function);
  }
  return Undefined(StrCat("'", name, "' is undefined"));
}

void Evaluator::Hide(const std::vector<int>& symbols) {
  for (const int symbol : symbols) Assign(*scope_, symbol, Value());
}

void Evaluator::Assign(Scope& scope, int symbol, const Value& value) {
  Step(scope.variables.size() / kBytesPerStep);
  for (auto& [number, old] : scope.variables) {
    if (number != symbol) continue;
    old = value;
    return;
  }
  Charge(sizeof(std::pair<int, Value>));
  scope.variables.emplace_back(symbol, value);
}

void Evaluator::Assign(Scope& scope, const Node::Target& target, const Value& value) {
  if (!target.attribute.empty()) return AssignAttribute(target, value);
  if (!target.is_tuple) return Assign(scope, target.symbol, value);

  const std::vector<Value> items = ItemsOf(*this, value);
  if (items.size() != target.parts.size()) {
    Refuse(StrCat(target.parts.size(), " values to take apart"), StrCat(items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(scope, target.parts[i], items[i]);
}

void Evaluator::AssignAttribute(const Node::Target& target, const Value& value) {
  const Value owner = Lookup(target.symbol);
  if (!owner.Is(Kind::kNamespace)) {
    Refuse("a namespace to set an attribute of",
           StrCat("'", NameOf(target.symbol), "', ", TypeName(owner)));
  }
  CheckNamespaceName(*this, target.attribute);
  SetKey(*this, owner.As<NamespaceObject>().attributes.As<DictObject>(), Text(target.attribute),
         value);
}

// --- loops

Evaluator::Flow Evaluator::For(const Node& node, const Value& iterable, Scope* outer,
                               int64_t depth0) {
  auto* loop = New<LoopObject>();
  loop->node = &node;
  loop->outer = outer;
  loop->depth0 = depth0;
  loop->cursor = CursorOf(*this, iterable);

  const InnerScope inner(*this, outer);
  Value element;
  bool is_done = false;
  while (NextElement(*loop, &element)) {
    ++loop->index0;
    loop->before = loop->current;
    loop->current = element;
    scope_->variables.clear();
    Hide(node.hidden);
    if (loop_symbol_ >= 0) Assign(*scope_, loop_symbol_, Value::Of(Kind::kLoop, loop));
    line = node.line;
    Assign(*scope_, node.target, element);
    const Flow flow = Body(node.bodies[0]);
    is_done = is_done || flow == Flow::kOn;
    if (flow == Flow::kBreak) break;
  }

  // As compiled by jinja2: unless the body came to its end at least once.
  if (is_done) return Flow::kOn;
  scope_->variables.clear();
  Hide(node.hidden_in_else);
  return Body(node.bodies[1]);
}

bool Evaluator::NextElement(LoopObject& loop, Value* element) {
  if (!loop.after.IsAbsent()) {
    *element = std::exchange(loop.after, Value());
    return true;
  }
  while (Next(*this, loop.cursor, element)) {
    if (loop.node->expressions.size() == 1) return true;
    const InnerScope inner(*this, loop.outer);
    line = loop.node->line;
    Assign(*scope_, loop.node->target, *element);
    if (IsTrue(*this, Evaluate(loop.node->expressions[1]))) return true;
  }
  return false;
}

bool Evaluator::LookAhead(LoopObject& loop) {
  Value next;
  if (loop.after.IsAbsent() && NextElement(loop, &next)) loop.after = next;
  return !loop.after.IsAbsent();
}

int64_t Evaluator::LoopSize(const Value& value) {
  auto& loop = value.As<LoopObject>();
  if (loop.size >= 0) return loop.size;
  if (loop.node->expressions.size() == 1) loop.size = SizeOf(*this, loop.cursor.source);
  if (loop.size >= 0) return loop.size;

  // What does not know its size is gone through to its end.
  std::vector<Value> rest;
  Value element;
  while (NextElement(loop, &element)) rest.push_back(element);
  loop.size = loop.index0 + 1 + static_cast<int64_t>(rest.size());
  loop.cursor = {Iterator(std::move(rest)), 0};
  return loop.size;
}

Value Evaluator::CallLoop(LoopObject& loop, Arguments& arguments) {
  if (!loop.node->is_recursive) Refuse("a recursive loop to call", "another");
  const std::vector<Value> bound = Bind(*this, "loop", "iterable", arguments);
  std::string text;
  const Capture capture(*this, &text);
  For(*loop.node, bound[0], loop.outer, loop.depth0 + 1);
  return Text(text);
}

Value Evaluator::LoopAttribute(LoopObject& loop, std::string_view name) {
  const auto size = [&] { return LoopSize(Value::Of(Kind::kLoop, &loop)); };
  if (name == "index") return Value::Int(loop.index0 + 1);
  if (name == "index0") return Value::Int(loop.index0);
  if (name == "first") return Value::Bool(loop.index0 == 0);
  if (name == "last") return Value::Bool(!LookAhead(loop));
  if (name == "length") return Value::Int(size());
  if (name == "revindex") return Value::Int(size() - loop.index0);
  if (name == "revindex0") return Value::Int(size() - loop.index0 - 1);
  if (name == "depth") return Value::Int(loop.depth0 + 1);
  if (name == "depth0") return Value::Int(loop.depth0);
  if (name == "previtem") {
    return loop.index0 > 0 ? loop.before : Undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return LookAhead(loop) ? loop.after : Undefined("there is no next item");
  }
  return {};
}

Value Evaluator::ObjectAttribute(const Value& object, std::string_view name) {
  return object.Is(Kind::kLoop) ? LoopAttribute(object.As<LoopObject>(), name)
                                : MacroAttribute(object.As<MacroObject>(), name);
}

}  // namespace qualm::jinja
