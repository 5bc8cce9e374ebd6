// Inside of JinjaTemplate: what its text is parsed into.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/jinja.h"

namespace qualm {

struct JinjaTemplate::Expression {
  enum class Kind {
    kLiteral,    // value
    kName,       // text
    kList,       // inner
    kMap,        // inner: keys and values in turn
    kAttribute,  // inner[0].text
    kIndex,      // inner[0][inner[1]]
    kSlice,      // inner[0][inner[1]:inner[2]:inner[3]]; an absent one is kLiteral none
    kCall,       // inner[0](inner[1..], named)
    kFilter,     // inner[0]|text(inner[1..])
    kTest,       // inner[0] is text; is_negated
    kUnary,      // text inner[0]: not, -, +
    kBinary,     // inner[0] text inner[1]
    kInlineIf,   // inner[1] if inner[0] else inner[2]
  } kind = Kind::kLiteral;
  int line = 0;
  std::string text;
  Json value;
  std::vector<Expression> inner;
  std::vector<std::string> names;        // of arguments by name
  std::vector<Expression> named_values;  // theirs
  bool is_negated = false;
};

struct JinjaTemplate::Node {
  enum class Kind { kText, kOutput, kFor, kIf, kSet } kind = Kind::kText;
  int line = 0;
  std::string text;                       // kText; kSet: the variable
  std::string attribute;                  // kSet: of a namespace; empty: the variable itself
  std::vector<std::string> names;         // kFor: of the element, or of key and value
  std::vector<Expression> expressions;    // output; list and optional condition; value; conditions
  std::vector<std::vector<Node>> bodies;  // kFor: body and else; kIf: one more than conditions
};

std::vector<JinjaTemplate::Node> ParseJinja(std::string_view text, std::string_view place);

}  // namespace qualm
