// Parses what follows a value: attributes, elements, slices, calls, filters and tests.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/parser.h"

namespace qualm::jinja {

Expression ExpressionParser::WithSteps(Expression value, std::vector<Expression::Step> steps) {
  if (steps.empty()) return value;
  int deepest = value.depth;
  for (const Expression::Step& step : steps) {
    deepest =
        std::max({deepest, DepthOf(step.arguments), DepthOf(step.rest), DepthOf(step.named_rest)});
  }
  const int line = value.line;
  std::vector<Expression> parts;
  parts.push_back(std::move(value));
  Expression made = Make(Expression::Kind::kPostfix, line, std::move(parts));
  made.depth = 1 + deepest;
  made.steps = std::move(steps);
  return made;
}

Expression ExpressionParser::Postfix(Expression value) {
  std::vector<Expression::Step> steps;
  while (TakePostfixStep(&steps)) {
  }
  return WithSteps(std::move(value), std::move(steps));
}

bool ExpressionParser::TakePostfixStep(std::vector<Expression::Step>* steps) {
  Expression::Step step;
  step.line = Here().line;
  if (TakeSign(".")) {
    if (Here().kind == Token::Kind::kInteger) {
      step.kind = Expression::Step::Kind::kElement;
      step.arguments.push_back(Constant(Value::Int(Here().integer), step.line));
      ++at_;
    } else {
      step.name = RequireAnyName();
    }
  } else if (TakeSign("[")) {
    step = Subscript(step.line);
  } else if (IsSign("(")) {
    step.kind = Expression::Step::Kind::kCall;
    CallArguments(step);
  } else {
    return false;
  }
  CountNode();
  steps->push_back(std::move(step));
  return true;
}

Expression::Step ExpressionParser::Subscript(int line) {
  Expression::Step step;
  step.kind = Expression::Step::Kind::kElement;
  step.line = line;
  std::vector<Expression> keys, slice;
  bool is_slice = false;
  while (!TakeSign("]")) {
    if (!keys.empty()) RequireSign(",");
    if (IsSign("]")) continue;
    keys.push_back(SubscriptPart(&is_slice, &slice));
  }

  if (keys.empty()) Refuse("an index");
  if (is_slice) {
    if (keys.size() > 1) Refuse("one slice as an index");
    step.kind = Expression::Step::Kind::kSlice;
    step.arguments = std::move(slice);
  } else if (keys.size() == 1) {
    step.arguments = std::move(keys);
  } else {
    step.arguments.push_back(Make(Expression::Kind::kTuple, line, std::move(keys)));
  }
  return step;
}

// One key, or the parts of a slice; what is left out of a slice is an absent constant.
Expression ExpressionParser::SubscriptPart(bool* is_slice, std::vector<Expression>* parts) {
  const int line = Here().line;
  std::vector<Expression> found;
  found.push_back(IsSign(":") ? Constant(Value(), line) : Condition());
  if (!IsSign(":")) return std::move(found[0]);

  *is_slice = true;
  while (TakeSign(":")) {
    if (found.size() == 3) Refuse("at most two colons in an index");
    const bool is_left_out = IsSign(":") || IsSign("]") || IsSign(",");
    found.push_back(is_left_out ? Constant(Value(), line) : Condition());
  }
  while (found.size() < 3) found.push_back(Constant(Value(), line));
  *parts = std::move(found);
  return Constant(Value(), line);
}

void ExpressionParser::CallArguments(Expression::Step& step) {
  RequireSign("(");
  std::vector<Expression> named;
  while (!TakeSign(")")) {
    if (TakeSign("*")) {
      if (!step.rest.empty() || !step.named_rest.empty()) Refuse("one '*' in a call");
      step.rest.push_back(Condition());
    } else if (TakeSign("**")) {
      if (!step.named_rest.empty()) Refuse("one '**' in a call");
      step.named_rest.push_back(Condition());
    } else if (Here().kind == Token::Kind::kName && After().kind == Token::Kind::kSign &&
               After().text == "=") {
      if (!step.named_rest.empty()) Refuse("no argument after '**'");
      step.names.push_back(RequireAnyName());
      RequireSign("=");
      named.push_back(Condition());
    } else {
      if (!step.rest.empty() || !step.named_rest.empty() || !step.names.empty()) {
        Refuse("arguments by position before all others");
      }
      step.arguments.push_back(Condition());
    }
    if (!IsSign(")")) RequireSign(",");
  }
  for (Expression& one : named) step.arguments.push_back(std::move(one));
}

Expression::Step ExpressionParser::FilterStep() {
  CountNode();
  Expression::Step step;
  step.kind = Expression::Step::Kind::kFilter;
  step.line = Here().line;
  step.name = RequireAnyName();
  while (TakeSign(".")) step.name += StrCat(".", RequireAnyName());
  if (IsSign("(")) CallArguments(step);

  const bool is_own = std::ranges::any_of(
      options_.filters, [&](const JinjaFilter& one) { return one.name == step.name; });
  if (!is_lenient_ && !is_own && FindFilter(step.name) == nullptr) {
    unknown_.push_back({"filter", step.name, step.line});
  }
  return step;
}

Expression ExpressionParser::FilterChain(bool starts_with_sign) {
  std::vector<Expression::Step> steps;
  if (!starts_with_sign) steps.push_back(FilterStep());
  while (TakeSign("|")) steps.push_back(FilterStep());
  return WithSteps(Constant(Value(), Here().line), std::move(steps));
}

Expression::Step ExpressionParser::TestStep() {
  CountNode();
  Expression::Step step;
  step.kind = Expression::Step::Kind::kTest;
  step.line = Here().line;
  TakeName("is");
  step.is_negated = TakeName("not");
  step.name = RequireAnyName();
  while (TakeSign(".")) step.name += StrCat(".", RequireAnyName());

  // One argument may be given without brackets.
  const Token::Kind kind = Here().kind;
  const bool is_value = kind == Token::Kind::kName || kind == Token::Kind::kText ||
                        kind == Token::Kind::kInteger || kind == Token::Kind::kFloat ||
                        IsSign("[") || IsSign("{");
  if (IsSign("(")) {
    CallArguments(step);
  } else if (is_value && !IsName("else") && !IsName("or") && !IsName("and")) {
    if (IsName("is")) Refuse("only one test after 'is'");
    step.arguments.push_back(Postfix(Primary()));
  }
  if (!is_lenient_ && FindTest(step.name) == nullptr) {
    unknown_.push_back({"test", step.name, step.line});
  }
  return step;
}

}  // namespace qualm::jinja
