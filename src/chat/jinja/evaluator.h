// Renders a parsed template: walks its nodes, keeps the variables of scopes, and calls macros and
// functions. One evaluator renders once.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/jinja/runtime.h"
#include "chat/jinja/syntax.h"

namespace qualm::jinja {

// Variables of a block by the numbers of their names. An absent value hides that of an outer scope.
struct Scope : Object {
  Scope* parent = nullptr;
  std::vector<std::pair<int, Value>> variables;
};

struct MacroObject : Object {
  const Node* node = nullptr;
  Scope* scope = nullptr;  // where it was defined
};

struct LoopObject : Object {
  const Node* node = nullptr;
  Scope* outer = nullptr;  // around the loop
  Cursor cursor;
  int64_t size = -1;  // number of elements; -1: not asked for yet
  int64_t index0 = -1, depth0 = 0;
  Value current, before, after;  // absent: none, or not looked at yet
  std::vector<Value> changed;    // what loop.changed was called with last
  bool has_changed = false;
};

class Evaluator final : public Runtime {
 public:
  // All must outlive the evaluator.
  Evaluator(const Syntax& syntax, std::string_view place, const JinjaOptions& options,
            size_t input_bytes);

  std::string Run(const Json& variables);

  Value Call(const Value& callee, Arguments& arguments) override;
  Value ObjectAttribute(const Value& object, std::string_view name) override;
  int64_t LoopSize(const Value& loop) override;

 private:
  enum class Flow { kOn, kBreak, kContinue };
  class Level;       // bounds recursion
  class InnerScope;  // a scope for as long as it lives
  class Capture;     // text goes to a buffer for as long as it lives

  // --- statements
  Flow Body(const std::vector<Node>& nodes);
  Flow Execute(const Node& node);
  Flow If(const Node& node);
  Flow For(const Node& node, const Value& iterable, Scope* outer, int64_t depth0);
  Flow SetBlock(const Node& node);
  Flow FilterBlock(const Node& node);
  Flow Scoped(const Node& node, Scope* parent);
  void With(const Node& node);
  void CallBlock(const Node& node);
  void Output(const Node& node);
  void Write(std::string_view text);

  // --- variables
  Value Lookup(int symbol);
  void Hide(const std::vector<int>& symbols);  // in the scope of now
  void Assign(Scope& scope, int symbol, const Value& value);
  void Assign(Scope& scope, const Node::Target& target, const Value& value);
  void AssignAttribute(const Node::Target& target, const Value& value);
  int SymbolOf(std::string_view name) const;  // -1: the template does not name it
  const std::string& NameOf(int symbol) const {
    return syntax_.symbols[static_cast<size_t>(symbol)];
  }

  // --- loops and macros
  bool NextElement(LoopObject& loop, Value* element);
  bool LookAhead(LoopObject& loop);
  Value LoopAttribute(LoopObject& loop, std::string_view name);
  Value MacroAttribute(const MacroObject& macro, std::string_view name);
  Value CallMacro(const MacroObject& macro, Arguments& arguments);
  void BindMacro(const MacroObject& macro, Arguments& arguments, Scope& scope);
  Value CallLoop(LoopObject& loop, Arguments& arguments);

  // --- expressions
  Value Evaluate(const Expression& expression);
  Value EvaluateDict(const Expression& expression);
  Value EvaluateChain(const Expression& expression);
  Value EvaluateConcat(const Expression& expression);
  bool EvaluateComparison(const Expression& expression);
  Value EvaluateLogical(const Expression& expression, bool stops_at);
  Value EvaluateCondition(const Expression& expression);
  std::vector<Value> EvaluateAll(const std::vector<Expression>& expressions);
  Value WithSteps(Value value, std::span<const Expression::Step> steps);
  Value WithStep(const Value& value, const Expression::Step& step);
  Arguments ArgumentsOf(const Expression::Step& step);

  const Syntax& syntax_;
  Scope* root_;
  Scope* scope_;
  std::string text_;
  std::string* out_ = &text_;
  int depth_ = 0;
  int loop_symbol_, caller_symbol_, varargs_symbol_, kwargs_symbol_;  // -1: not in the template
};

}  // namespace qualm::jinja
