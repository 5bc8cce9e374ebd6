// Inside of Parse: the state that the parsers of expressions and statements share.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/lexer.h"
#include "chat/jinja/syntax.h"

namespace qualm::jinja {

// Expressions, by the grammar of jinja2/parser.py. Each function reads from the current token on
// and leaves after it what it did not need.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string_view place, const JinjaOptions& options)
      : tokens_(std::move(tokens)), place_(place), options_(options) {}

 protected:
  // --- tokens
  const Token& Here() const { return tokens_[at_]; }
  const Token& After() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  bool IsName(std::string_view name) const {
    return Here().kind == Token::Kind::kName && Here().text == name;
  }
  bool IsSign(std::string_view sign) const {
    return Here().kind == Token::Kind::kSign && Here().text == sign;
  }
  bool TakeName(std::string_view name);
  bool TakeSign(std::string_view sign);
  bool Take(Token::Kind kind);
  void RequireSign(std::string_view sign);
  std::string RequireAnyName();
  [[noreturn]] void Refuse(std::string_view expected) const;

  // --- expressions
  // One expression, or several with commas between as a tuple. Without a condition, an "if" after
  // it belongs to something else. `end`: a name that ends it.
  Expression TupleOrOne(bool with_condition, std::string_view end = "", bool may_be_empty = false);
  Expression Condition();
  Expression OrChain();
  // "name(arguments)|name..." after "filter" or "set x".
  Expression FilterChain(bool starts_with_sign);

  int SymbolOf(const std::string& name);
  // Throws bad input if a filter or test was met that is not known and that no condition guards.
  void RefuseUnknown() const;
  // Where nesting begins: bounds it.
  class Depth {
   public:
    explicit Depth(ExpressionParser& parser);
    ~Depth() { --parser_.depth_; }

   private:
    ExpressionParser& parser_;
  };

  struct MacroUse {
    bool caller = false, varargs = false, kwargs = false;
  };

  std::vector<Token> tokens_;
  std::string_view place_;
  const JinjaOptions& options_;
  size_t at_ = 0;
  Syntax syntax_;
  std::vector<MacroUse> macros_;  // those around what is being parsed
  // Whether a filter or test that is not known is only an error once it is used: in the branches
  // of conditions.
  bool is_lenient_ = false;
  struct Unknown {
    const char* kind;
    std::string name;
    int line;
  };
  std::vector<Unknown> unknown_;  // those met in the tag so far

 private:
  using Level = Expression (ExpressionParser::*)();
  Expression Make(Expression::Kind kind, int line, std::vector<Expression> parts);
  Expression Constant(Value value, int line);
  Expression Chain(std::initializer_list<std::pair<std::string_view, Operator>> signs, Level next);
  Expression Logical(std::string_view name, Expression::Kind kind, Level next);
  Expression AndChain() { return Logical("and", Expression::Kind::kAnd, &ExpressionParser::Not); }
  Expression Not();
  Expression Comparison();
  bool TakeComparison(Operator* sign);
  Expression Sum();
  Expression Concat();
  Expression Product();
  Expression Power();
  Expression Unary();
  Expression Primary();
  Expression Parenthesis();
  Expression ListLiteral(int line);
  Expression DictLiteral(int line);
  Expression NameOrConstant(const Token& token);
  Expression Postfix(Expression value);
  Expression WithSteps(Expression value, std::vector<Expression::Step> steps);
  bool TakePostfixStep(std::vector<Expression::Step>* steps);
  Expression::Step Subscript(int line);
  Expression SubscriptPart(bool* is_slice, std::vector<Expression>* parts);
  Expression::Step FilterStep();
  Expression::Step TestStep();
  void CallArguments(Expression::Step& step);
  void CountNode();
  int DepthOf(const std::vector<Expression>& parts) const;

  std::map<std::string, int> symbol_numbers_;
  int depth_ = 0;
  size_t nodes_ = 0;
};

}  // namespace qualm::jinja
