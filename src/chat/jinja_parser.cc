#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "chat/jinja_lexer.h"
#include "chat/jinja_parts.h"

namespace qualm {
namespace {

using Node = JinjaTemplate::Node;
using Expression = JinjaTemplate::Expression;

// --- expressions, by rising strength

class ExpressionParser {
 public:
  ExpressionParser(std::vector<JinjaToken> tokens, std::string_view place)
      : tokens_(std::move(tokens)), place_(place) {}

  Expression Whole() {
    Expression expression = InlineIf();
    RequireEnd();
    return expression;
  }
  Expression InlineIf() {
    const Depth depth(*this);
    Expression value = Or();
    if (!TakeName("if")) return value;
    Expression made = Make(Expression::Kind::kInlineIf, "");
    made.inner.push_back(Or());
    made.inner.push_back(std::move(value));
    // Without else: a variable without a name, which is never defined.
    made.inner.push_back(TakeName("else") ? InlineIf() : Make(Expression::Kind::kName, ""));
    return made;
  }
  Expression Or() { return Chain({"or"}, &ExpressionParser::And); }

  bool TakeName(std::string_view name) { return Take(JinjaToken::Kind::kName, name); }
  bool TakeSign(std::string_view sign) { return Take(JinjaToken::Kind::kSign, sign); }
  std::string Name() {
    if (Here().kind != JinjaToken::Kind::kName) Refused("a name");
    return tokens_[at_++].text;
  }
  void RequireSign(std::string_view sign) {
    if (!TakeSign(sign)) Refused(StrCat("'", sign, "'"));
  }
  void RequireEnd() {
    if (Here().kind != JinjaToken::Kind::kEnd) Refused("the end of the tag");
  }
  const JinjaToken& Here() const { return tokens_[at_]; }
  [[noreturn]] void Refused(std::string_view expected) const {
    RefuseJinja(place_, Here().line, expected,
                Here().kind == JinjaToken::Kind::kEnd ? "the end of the tag"
                                                      : StrCat("'", Here().text, "'"));
  }

 private:
  // Nesting is bounded: a template comes from a file that is not trusted.
  class Depth {
   public:
    explicit Depth(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.depth_ > 64) parser_.Refused("at most 64 levels");
    }
    ~Depth() { --parser_.depth_; }

   private:
    ExpressionParser& parser_;
  };

  bool Take(JinjaToken::Kind kind, std::string_view text) {
    if (Here().kind != kind || Here().text != text) return false;
    ++at_;
    return true;
  }
  bool Is(JinjaToken::Kind kind, std::string_view text, size_t ahead = 0) const {
    const size_t at = std::min(at_ + ahead, tokens_.size() - 1);
    return tokens_[at].kind == kind && tokens_[at].text == text;
  }

  Expression Make(Expression::Kind kind, std::string text) const {
    Expression made;
    made.kind = kind;
    made.line = Here().line;
    made.text = std::move(text);
    return made;
  }

  Expression Chain(std::initializer_list<std::string_view> operators,
                   Expression (ExpressionParser::*next)()) {
    Expression left = (this->*next)();
    while (true) {
      const auto found = std::ranges::find_if(operators, [&](std::string_view one) {
        return Is(JinjaToken::Kind::kName, one) || Is(JinjaToken::Kind::kSign, one);
      });
      if (found == operators.end()) return left;
      ++at_;
      Expression made = Make(Expression::Kind::kBinary, std::string(*found));
      made.inner.push_back(std::move(left));
      made.inner.push_back((this->*next)());
      left = std::move(made);
    }
  }

  Expression And() { return Chain({"and"}, &ExpressionParser::Not); }

  Expression Not() {
    const Depth depth(*this);
    if (!TakeName("not")) return Comparison();
    Expression made = Make(Expression::Kind::kUnary, "not");
    made.inner.push_back(Not());
    return made;
  }

  Expression Comparison() {
    Expression left = Sum();
    while (true) {
      Expression made = Make(Expression::Kind::kBinary, "");
      if (Is(JinjaToken::Kind::kName, "not") && Is(JinjaToken::Kind::kName, "in", 1)) {
        at_ += 2;
        made.text = "not in";
      } else if (TakeName("in")) {
        made.text = "in";
      } else {
        for (std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"}) {
          if (made.text.empty() && TakeSign(sign)) made.text = sign;
        }
      }
      if (made.text.empty()) return left;
      made.inner.push_back(std::move(left));
      made.inner.push_back(Sum());
      left = std::move(made);
    }
  }

  Expression Sum() { return Chain({"+", "-", "~"}, &ExpressionParser::Product); }
  Expression Product() { return Chain({"*", "//", "/", "%"}, &ExpressionParser::Unary); }

  Expression Unary() {
    const Depth depth(*this);
    if (TakeSign("-")) {
      Expression made = Make(Expression::Kind::kUnary, "-");
      made.inner.push_back(Unary());
      return made;
    }
    return Postfix(Primary());
  }

  Expression Primary() {
    const Depth depth(*this);
    const JinjaToken token = Here();
    Expression made = Make(Expression::Kind::kLiteral, "");
    if (token.kind == JinjaToken::Kind::kText) {
      while (Here().kind == JinjaToken::Kind::kText) made.text += tokens_[at_++].text;
      made.value = std::exchange(made.text, {});
    } else if (token.kind == JinjaToken::Kind::kNumber) {
      ++at_;
      made.value = NumberOf(token);
    } else if (TakeSign("(")) {
      made = InlineIf();
      RequireSign(")");
    } else if (TakeSign("[")) {
      made.kind = Expression::Kind::kList;
      while (!TakeSign("]")) {
        made.inner.push_back(InlineIf());
        if (!Is(JinjaToken::Kind::kSign, "]")) RequireSign(",");
      }
    } else if (TakeSign("{")) {
      made.kind = Expression::Kind::kMap;
      while (!TakeSign("}")) {
        made.inner.push_back(InlineIf());
        RequireSign(":");
        made.inner.push_back(InlineIf());
        if (!Is(JinjaToken::Kind::kSign, "}")) RequireSign(",");
      }
    } else {
      const std::string name = Name();
      if (name == "true" || name == "True") {
        made.value = true;
      } else if (name == "false" || name == "False") {
        made.value = false;
      } else if (name != "none" && name != "None") {
        made.kind = Expression::Kind::kName;
        made.text = name;
      }
    }
    return made;
  }

  Json NumberOf(const JinjaToken& token) const {
    int64_t whole = 0;
    const char *begin = token.text.data(), *end = begin + token.text.size();
    if (const auto got = std::from_chars(begin, end, whole);
        got.ec == std::errc() && got.ptr == end) {
      return whole;
    }
    double real = 0;
    if (const auto got = std::from_chars(begin, end, real);
        got.ec == std::errc() && got.ptr == end) {
      return real;
    }
    RefuseJinja(place_, token.line, "numbers", token.text);
  }

  Expression Postfix(Expression value) {
    while (true) {
      if (TakeSign(".")) {
        Expression made = Make(Expression::Kind::kAttribute, "");
        made.text = Here().kind == JinjaToken::Kind::kNumber ? tokens_[at_++].text : Name();
        made.inner.push_back(std::move(value));
        value = std::move(made);
      } else if (TakeSign("[")) {
        value = Index(std::move(value));
      } else if (TakeSign("(")) {
        Expression made = Make(Expression::Kind::kCall, "");
        made.inner.push_back(std::move(value));
        Arguments(made);
        value = std::move(made);
      } else if (TakeSign("|")) {
        Expression made = Make(Expression::Kind::kFilter, Name());
        made.inner.push_back(std::move(value));
        if (TakeSign("(")) Arguments(made);
        value = std::move(made);
      } else if (TakeName("is")) {
        Expression made = Make(Expression::Kind::kTest, "");
        made.is_negated = TakeName("not");
        made.text = Name();
        made.inner.push_back(std::move(value));
        value = std::move(made);
      } else {
        return value;
      }
    }
  }

  Expression Index(Expression value) {
    Expression made = Make(Expression::Kind::kIndex, "");
    made.inner.push_back(std::move(value));
    std::vector<Expression> parts(1, Make(Expression::Kind::kLiteral, ""));
    while (!TakeSign("]")) {
      if (TakeSign(":")) {
        parts.push_back(Make(Expression::Kind::kLiteral, ""));
      } else {
        parts.back() = InlineIf();
        if (!Is(JinjaToken::Kind::kSign, "]") && !Is(JinjaToken::Kind::kSign, ":")) Refused("']'");
      }
    }
    if (parts.size() > 3) Refused("at most two colons in an index");
    if (parts.size() > 1) {
      made.kind = Expression::Kind::kSlice;
      parts.resize(3, Make(Expression::Kind::kLiteral, ""));
    }
    for (Expression& part : parts) made.inner.push_back(std::move(part));
    return made;
  }

  void Arguments(Expression& call) {
    while (!TakeSign(")")) {
      if (Here().kind == JinjaToken::Kind::kName && Is(JinjaToken::Kind::kSign, "=", 1)) {
        const std::string name = Name();
        RequireSign("=");
        call.names.push_back(name);
        call.named_values.push_back(InlineIf());
      } else {
        call.inner.push_back(InlineIf());
      }
      if (!Is(JinjaToken::Kind::kSign, ")")) RequireSign(",");
    }
  }

  std::vector<JinjaToken> tokens_;
  std::string_view place_;
  size_t at_ = 0;
  int depth_ = 0;
};

// --- statements

class StatementParser {
 public:
  StatementParser(std::vector<JinjaPiece> pieces, std::string_view place)
      : pieces_(std::move(pieces)), place_(place) {}

  std::vector<Node> Run() {
    std::vector<Node> nodes = Body({}, 0);
    if (at_ < pieces_.size()) {
      RefuseJinja(place_, pieces_[at_].line, "a beginning for every end", pieces_[at_].text);
    }
    return nodes;
  }

 private:
  static std::string FirstWord(const JinjaPiece& piece) {
    const std::string text(Trim(piece.text));
    size_t end = 0;
    while (end < text.size() && IsJinjaNameCharacter(text[end])) ++end;
    return text.substr(0, end);
  }

  // Up to one of the words (which is left), or the end of the template.
  std::vector<Node> Body(const std::vector<std::string>& ends, int depth) {
    if (depth > 32) RefuseJinja(place_, pieces_[at_].line, "at most 32 levels", "more");
    std::vector<Node> nodes;
    while (at_ < pieces_.size()) {
      const JinjaPiece& piece = pieces_[at_];
      Node node;
      node.line = piece.line;
      if (piece.kind == JinjaPiece::Kind::kText) {
        node.text = piece.text;
        ++at_;
      } else if (piece.kind == JinjaPiece::Kind::kOutput) {
        node.kind = Node::Kind::kOutput;
        node.expressions.push_back(ExpressionParser(TokensOfJinja(piece, place_), place_).Whole());
        ++at_;
      } else {
        const std::string word = FirstWord(piece);
        if (std::ranges::find(ends, word) != ends.end()) return nodes;
        if (word == "generation" || word == "endgeneration") {  // marks what is trained on
          ++at_;
          continue;
        }
        node = Statement(word, depth);
      }
      nodes.push_back(std::move(node));
    }
    if (!ends.empty()) RefuseJinja(place_, 0, StrCat("an '", ends.back(), "'"), "the end");
    return nodes;
  }

  Node Statement(const std::string& word, int depth) {
    ExpressionParser parser(TokensOfJinja(pieces_[at_], place_), place_);
    Node node;
    node.line = pieces_[at_].line;
    if (word == "for") {
      ++at_;
      parser.Name();
      For(parser, node, depth);
    } else if (word == "if") {
      If(node, depth);
    } else if (word == "set") {
      ++at_;
      parser.Name();
      node.kind = Node::Kind::kSet;
      node.text = parser.Name();
      if (parser.TakeSign(".")) node.attribute = parser.Name();
      parser.RequireSign("=");
      node.expressions.push_back(parser.Whole());
    } else {
      RefuseJinja(place_, node.line, "for, if, set and their ends", StrCat("'", word, "'"));
    }
    return node;
  }

  void For(ExpressionParser& parser, Node& node, int depth) {
    node.kind = Node::Kind::kFor;
    node.names.push_back(parser.Name());
    while (parser.TakeSign(",")) node.names.push_back(parser.Name());
    if (!parser.TakeName("in")) parser.Refused("'in'");
    node.expressions.push_back(parser.Or());
    if (parser.TakeName("if")) node.expressions.push_back(parser.InlineIf());
    parser.RequireEnd();
    node.bodies.push_back(Body({"else", "endfor"}, depth + 1));
    node.bodies.emplace_back();
    if (FirstWord(pieces_[at_]) == "else") {
      ++at_;
      node.bodies[1] = Body({"endfor"}, depth + 1);
    }
    ++at_;
  }

  void If(Node& node, int depth) {
    node.kind = Node::Kind::kIf;
    std::string word = "if";
    while (word != "endif") {
      ExpressionParser parser(TokensOfJinja(pieces_[at_], place_), place_);
      ++at_;
      parser.Name();
      if (word != "else") {
        node.expressions.push_back(parser.InlineIf());
        parser.RequireEnd();
        node.bodies.push_back(Body({"elif", "else", "endif"}, depth + 1));
      } else {
        parser.RequireEnd();
        node.bodies.push_back(Body({"endif"}, depth + 1));
      }
      word = FirstWord(pieces_[at_]);
    }
    ++at_;
    if (node.bodies.size() == node.expressions.size()) node.bodies.emplace_back();
  }

  std::vector<JinjaPiece> pieces_;
  std::string_view place_;
  size_t at_ = 0;
};

}  // namespace

std::vector<Node> ParseJinja(std::string_view text, std::string_view place) {
  if (!IsValidUtf8(text)) ThrowBadInput(place, "a chat template in UTF-8", "other bytes");
  // One line end at the end of the template is not part of it (Jinja's keep_trailing_newline).
  if (text.ends_with('\n')) text.remove_suffix(1);
  return StatementParser(CutJinja(text, place), place).Run();
}

}  // namespace qualm
