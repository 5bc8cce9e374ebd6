// Parses expressions. The precedence is Jinja's, which is not Python's: a sign binds more strongly
// than **, and a chain of ** is taken from the left.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/parser.h"

namespace qualm::jinja {
namespace {

constexpr int kDeepest = 100;
constexpr size_t kMostNodes = 200000;

}  // namespace

ExpressionParser::Depth::Depth(ExpressionParser& parser) : parser_(parser) {
  if (++parser_.depth_ > kDeepest) parser_.Refuse(StrCat("at most ", kDeepest, " levels"));
}

// --- tokens

bool ExpressionParser::TakeName(std::string_view name) {
  if (!IsName(name)) return false;
  ++at_;
  return true;
}

bool ExpressionParser::TakeSign(std::string_view sign) {
  if (!IsSign(sign)) return false;
  ++at_;
  return true;
}

bool ExpressionParser::Take(Token::Kind kind) {
  if (Here().kind != kind) return false;
  ++at_;
  return true;
}

void ExpressionParser::RequireSign(std::string_view sign) {
  if (!TakeSign(sign)) Refuse(StrCat("'", sign, "'"));
}

std::string ExpressionParser::RequireAnyName() {
  if (Here().kind != Token::Kind::kName) Refuse("a name");
  return tokens_[at_++].text;
}

void ExpressionParser::Refuse(std::string_view expected) const {
  const Token::Kind kind = Here().kind;
  const std::string got = kind == Token::Kind::kEnd ? "the end of the template"
                          : kind == Token::Kind::kBlockEnd || kind == Token::Kind::kOutputEnd
                              ? "the end of the tag"
                          : kind == Token::Kind::kData        ? "text"
                          : kind == Token::Kind::kBlockBegin  ? "a tag"
                          : kind == Token::Kind::kOutputBegin ? "an output"
                                                              : StrCat("'", Here().text, "'");
  RefuseAt(place_, Here().line, expected, got);
}

int ExpressionParser::SymbolOf(const std::string& name) {
  const auto [found, is_new] =
      symbol_numbers_.emplace(name, static_cast<int>(syntax_.symbols.size()));
  if (is_new) syntax_.symbols.push_back(name);
  return found->second;
}

void ExpressionParser::RefuseUnknown() const {
  if (unknown_.empty()) return;
  const auto& [kind, name, line] = unknown_.front();
  ThrowUnknownName(StrCat(place_, ":", line), kind, name,
                   std::string_view(kind) == "filter" ? FilterNames() : TestNames());
}

// --- nodes

void ExpressionParser::CountNode() {
  if (++nodes_ > kMostNodes) Refuse(StrCat("an expression of at most ", kMostNodes, " parts"));
}

int ExpressionParser::DepthOf(const std::vector<Expression>& parts) const {
  int depth = 0;
  for (const Expression& part : parts) depth = std::max(depth, part.depth);
  return depth;
}

Expression ExpressionParser::Make(Expression::Kind kind, int line, std::vector<Expression> parts) {
  CountNode();
  Expression made;
  made.kind = kind;
  made.line = line;
  made.depth = 1 + DepthOf(parts);
  if (made.depth > 4 * kDeepest) Refuse(StrCat("at most ", kDeepest, " levels"));
  made.parts = std::move(parts);
  return made;
}

Expression ExpressionParser::Constant(Value value, int line) {
  Expression made = Make(Expression::Kind::kConstant, line, {});
  made.value = value;
  return made;
}

// --- operators, from the weakest

Expression ExpressionParser::TupleOrOne(bool with_condition, std::string_view end,
                                        bool may_be_empty) {
  const int line = Here().line;
  std::vector<Expression> parts;
  bool is_tuple = false;
  while (true) {
    if (!parts.empty()) RequireSign(",");
    const Token::Kind kind = Here().kind;
    if (kind == Token::Kind::kOutputEnd || kind == Token::Kind::kBlockEnd || IsSign(")") ||
        (!end.empty() && IsName(end))) {
      break;
    }
    parts.push_back(with_condition ? Condition() : OrChain());
    if (!IsSign(",")) break;
    is_tuple = true;
  }

  if (!is_tuple && !parts.empty()) return std::move(parts[0]);
  if (!is_tuple && !may_be_empty) Refuse("an expression");
  return Make(Expression::Kind::kTuple, line, std::move(parts));
}

Expression ExpressionParser::Condition() {
  const Depth depth(*this);
  const int line = Here().line;
  const bool was_lenient = is_lenient_;
  std::vector<Expression> parts;
  const size_t unknown_before = unknown_.size();
  Expression value = OrChain();
  while (TakeName("if")) {
    unknown_.resize(unknown_before);  // the value may never be asked for
    is_lenient_ = true;
    parts.push_back(OrChain());
    parts.push_back(std::move(value));
    if (TakeName("else")) {
      value = OrChain();
    } else {
      value = Make(Expression::Kind::kCondition, line, std::exchange(parts, {}));
    }
  }
  is_lenient_ = was_lenient;

  if (parts.empty()) return value;
  parts.push_back(std::move(value));
  return Make(Expression::Kind::kCondition, line, std::move(parts));
}

Expression ExpressionParser::Logical(std::string_view name, Expression::Kind kind, Level next) {
  const int line = Here().line;
  std::vector<Expression> parts;
  parts.push_back((this->*next)());
  while (TakeName(name)) parts.push_back((this->*next)());
  return parts.size() == 1 ? std::move(parts[0]) : Make(kind, line, std::move(parts));
}

Expression ExpressionParser::OrChain() {
  return Logical("or", Expression::Kind::kOr, &ExpressionParser::AndChain);
}

Expression ExpressionParser::Not() {
  const int line = Here().line;
  size_t count = 0;
  while (TakeName("not")) ++count;
  Expression value = Comparison();

  // Two of them leave the truth of the value.
  for (size_t i = 0; i < (count > 2 ? 2 - count % 2 : count); ++i) {
    std::vector<Expression> parts;
    parts.push_back(std::move(value));
    value = Make(Expression::Kind::kNot, line, std::move(parts));
  }
  return value;
}

bool ExpressionParser::TakeComparison(Operator* sign) {
  static constexpr std::pair<std::string_view, Operator> kSigns[] = {
      {"==", Operator::kEqual},        {"!=", Operator::kNotEqual}, {"<=", Operator::kLessEqual},
      {">=", Operator::kGreaterEqual}, {"<", Operator::kLess},      {">", Operator::kGreater}};
  for (const auto& [text, one] : kSigns) {
    *sign = one;
    if (TakeSign(text)) return true;
  }
  *sign = Operator::kIn;
  if (TakeName("in")) return true;

  *sign = Operator::kNotIn;
  const bool is_not_in =
      IsName("not") && After().kind == Token::Kind::kName && After().text == "in";
  if (is_not_in) at_ += 2;
  return is_not_in;
}

Expression ExpressionParser::Comparison() {
  const int line = Here().line;
  std::vector<Expression> parts;
  std::vector<Operator> operators;
  parts.push_back(Sum());
  Operator sign;
  while (TakeComparison(&sign)) {
    operators.push_back(sign);
    parts.push_back(Sum());
  }
  if (operators.empty()) return std::move(parts[0]);

  Expression made = Make(Expression::Kind::kCompare, line, std::move(parts));
  made.operators = std::move(operators);
  return made;
}

Expression ExpressionParser::Chain(
    std::initializer_list<std::pair<std::string_view, Operator>> signs, Level next) {
  const int line = Here().line;
  std::vector<Expression> parts;
  std::vector<Operator> operators;
  parts.push_back((this->*next)());
  while (true) {
    const auto found =
        std::ranges::find_if(signs, [&](const auto& one) { return IsSign(one.first); });
    if (found == signs.end()) break;
    ++at_;
    operators.push_back(found->second);
    parts.push_back((this->*next)());
  }
  if (operators.empty()) return std::move(parts[0]);

  Expression made = Make(Expression::Kind::kChain, line, std::move(parts));
  made.operators = std::move(operators);
  return made;
}

Expression ExpressionParser::Sum() {
  return Chain({{"+", Operator::kAdd}, {"-", Operator::kSubtract}}, &ExpressionParser::Concat);
}

Expression ExpressionParser::Concat() {
  const int line = Here().line;
  std::vector<Expression> parts;
  parts.push_back(Product());
  while (TakeSign("~")) parts.push_back(Product());
  return parts.size() == 1 ? std::move(parts[0])
                           : Make(Expression::Kind::kConcat, line, std::move(parts));
}

Expression ExpressionParser::Product() {
  return Chain({{"*", Operator::kMultiply},
                {"/", Operator::kDivide},
                {"//", Operator::kFloorDivide},
                {"%", Operator::kModulo}},
               &ExpressionParser::Power);
}

Expression ExpressionParser::Power() {
  return Chain({{"**", Operator::kPower}}, &ExpressionParser::Unary);
}

Expression ExpressionParser::Unary() {
  const int line = Here().line;
  std::string signs;
  while (IsSign("-") || IsSign("+")) signs += tokens_[at_++].text;
  if (signs.size() > static_cast<size_t>(kDeepest)) {
    Refuse(StrCat("at most ", kDeepest, " signs"));
  }
  Expression value = Postfix(Primary());
  for (size_t i = signs.size(); i-- > 0;) {
    std::vector<Expression> parts;
    parts.push_back(std::move(value));
    value = Make(signs[i] == '-' ? Expression::Kind::kNegative : Expression::Kind::kPositive, line,
                 std::move(parts));
  }

  // Filters and tests see the value with its signs.
  std::vector<Expression::Step> steps;
  while (true) {
    if (IsSign("|")) {
      ++at_;
      steps.push_back(FilterStep());
    } else if (IsName("is")) {
      steps.push_back(TestStep());
    } else if (IsSign("(")) {
      TakePostfixStep(&steps);
    } else {
      break;
    }
  }
  return WithSteps(std::move(value), std::move(steps));
}

// --- values

Expression ExpressionParser::Primary() {
  const Token& token = Here();
  const int line = token.line;
  switch (token.kind) {
    case Token::Kind::kName:
      ++at_;
      return NameOrConstant(token);
    case Token::Kind::kInteger:
      ++at_;
      return Constant(Value::Int(token.integer), line);
    case Token::Kind::kFloat:
      ++at_;
      return Constant(Value::Float(token.real), line);
    case Token::Kind::kText: {
      std::string text;
      while (Here().kind == Token::Kind::kText) text += tokens_[at_++].text;
      return Constant(syntax_.literals.MakeText(std::move(text)), line);
    }
    default:
      break;
  }
  if (TakeSign("(")) return Parenthesis();
  if (TakeSign("[")) return ListLiteral(line);
  if (TakeSign("{")) return DictLiteral(line);
  Refuse("a value");
}

Expression ExpressionParser::NameOrConstant(const Token& token) {
  const std::string& name = token.text;
  if (name == "true" || name == "True") return Constant(Value::Bool(true), token.line);
  if (name == "false" || name == "False") return Constant(Value::Bool(false), token.line);
  if (name == "none" || name == "None") return Constant(Value::None(), token.line);

  for (MacroUse& macro : macros_) {
    macro.caller |= name == "caller";
    macro.varargs |= name == "varargs";
    macro.kwargs |= name == "kwargs";
  }
  Expression made = Make(Expression::Kind::kName, token.line, {});
  made.symbol = SymbolOf(name);
  return made;
}

Expression ExpressionParser::Parenthesis() {
  Expression made = TupleOrOne(/*with_condition=*/true, "", /*may_be_empty=*/true);
  RequireSign(")");
  return made;
}

Expression ExpressionParser::ListLiteral(int line) {
  std::vector<Expression> parts;
  while (!TakeSign("]")) {
    parts.push_back(Condition());
    if (!IsSign("]")) RequireSign(",");
  }
  return Make(Expression::Kind::kList, line, std::move(parts));
}

Expression ExpressionParser::DictLiteral(int line) {
  std::vector<Expression> parts;
  while (!TakeSign("}")) {
    parts.push_back(Condition());
    RequireSign(":");
    parts.push_back(Condition());
    if (!IsSign("}")) RequireSign(",");
  }
  return Make(Expression::Kind::kDict, line, std::move(parts));
}

}  // namespace qualm::jinja
