// What a template is parsed into. Chains (1 + 1 + 1, x.a.b, a or b or c, if ... elif ...) are one
// node with many parts, so a tree is only as deep as brackets and blocks are nested, which the
// parser bounds.
#pragma once

#include <string>
#include <vector>

#include "chat/jinja.h"
#include "chat/jinja/runtime.h"
#include "chat/jinja/value.h"

namespace qualm {

struct JinjaTemplate::Expression {
  enum class Kind {
    kConstant,   // value
    kName,       // symbol
    kList,       // parts
    kTuple,      // parts
    kDict,       // parts: keys and values in turn
    kChain,      // parts[0] operators[0] parts[1] operators[1] ..., from the left
    kConcat,     // parts as texts, joined
    kCompare,    // parts and operators as in kChain; each pair must hold
    kAnd,        // parts
    kOr,         // parts
    kNot,        // parts[0]
    kNegative,   // parts[0]
    kPositive,   // parts[0]
    kCondition,  // condition, value, condition, value, ..., and the value otherwise if it is odd
    kPostfix,    // parts[0] and steps
  };

  // What follows a value: one of them after the other.
  struct Step {
    enum class Kind { kAttribute, kElement, kSlice, kCall, kFilter, kTest } kind = Kind::kAttribute;
    int line = 0;
    bool is_negated = false;  // kTest: "is not"
    std::string name;         // of the attribute, filter or test
    std::vector<Expression>
        arguments;                   // kElement: one; kSlice: three, absent constants if left out
    std::vector<std::string> names;  // of the arguments by name: the last ones of `arguments`
    std::vector<Expression> rest;    // *list
    std::vector<Expression> named_rest;  // **dict
  };

  Kind kind = Kind::kConstant;
  int line = 0;
  int depth = 1;  // of the tree below, itself included
  int symbol = 0;
  jinja::Value value;
  std::vector<Expression> parts;
  std::vector<jinja::Operator> operators;
  std::vector<Step> steps;
};

struct JinjaTemplate::Node {
  enum class Kind {
    kText,       // text
    kOutput,     // expressions
    kFor,        // target in expressions[0], kept if expressions[1]; bodies: loop, else
    kIf,         // expressions[i] -> bodies[i]; the last body is the else
    kSet,        // target = expressions[0]
    kSetBlock,   // target = filters(bodies[0])
    kMacro,      // symbol(parameters) bodies[0]; defaults of the last parameters in expressions
    kCallBlock,  // the macro `caller` given to the call expressions[0]; parameters, defaults after
    kFilterBlock,  // filters(bodies[0])
    kWith,         // target = (expressions), in bodies[0]
    kScope,        // bodies[0] with its own variables
    kBlock,        // text: its name; bodies[0]
    kBreak,
    kContinue,
  };

  // What is assigned to: a name, an attribute of a namespace, or several.
  struct Target {
    int symbol = 0;
    std::string attribute;
    std::vector<Target> parts;  // empty: one name
    bool is_tuple = false;
  };

  Kind kind = Kind::kText;
  int line = 0;
  int symbol = 0;
  std::string text;
  Target target;
  std::vector<Expression> expressions;
  std::vector<Expression> filters;  // at most one: a kPostfix whose first part is absent
  std::vector<int> parameters;
  std::vector<std::vector<Node>> bodies;
  std::vector<int> hidden;          // names of the first body, see hidden_names.h
  std::vector<int> hidden_in_else;  // kFor: names of the second one
  bool is_recursive = false;        // kFor
  bool uses_caller =
      false;  // kMacro, kCallBlock: what the body reads in addition to the parameters
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

namespace jinja {

using Expression = JinjaTemplate::Expression;
using Node = JinjaTemplate::Node;

struct Syntax {
  std::vector<Node> body;
  std::vector<int> hidden;           // names of the body, see hidden_names.h
  std::vector<std::string> symbols;  // names by their number
  Arena literals;                    // owns the values of constants
};

// Throws bad input at "place:line".
Syntax Parse(std::string_view text, std::string_view place, const JinjaOptions& options);

}  // namespace jinja
}  // namespace qualm
