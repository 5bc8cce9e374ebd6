#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "chat/jinja_parts.h"

namespace qualm {
namespace {

using Node = JinjaTemplate::Node;
using Expression = JinjaTemplate::Expression;

struct Token {
  enum class Kind { kName, kNumber, kText, kSign, kEnd } kind = Kind::kEnd;
  std::string text;
  int line = 0;
};

// One piece of a template: text, {{ ... }} or {% ... %}.
struct Piece {
  enum class Kind { kText, kOutput, kBlock } kind = Kind::kText;
  std::string text;
  int line = 0;
};

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

[[noreturn]] void Refuse(std::string_view place, int line, std::string_view expected,
                         std::string_view got) {
  ThrowBadInput(StrCat(place, ":", line), StrCat("a chat template with ", expected), got);
}

// --- pieces: comments leave, blanks around tags as trim_blocks and lstrip_blocks say

class Cutter {
 public:
  Cutter(std::string_view text, std::string_view place) : text_(text), place_(place) {}

  std::vector<Piece> Run() {
    while (at_ < text_.size()) {
      const size_t open = FindTag();
      AddText(open);
      if (open == text_.size()) break;
      AddTag(open);
    }
    return std::move(pieces_);
  }

 private:
  size_t FindTag() const {
    for (size_t i = at_; i + 1 < text_.size(); ++i) {
      if (text_[i] == '{' && (text_[i + 1] == '{' || text_[i + 1] == '%' || text_[i + 1] == '#')) {
        return i;
      }
    }
    return text_.size();
  }

  // The text before a tag at `end`.
  void AddText(size_t end) {
    std::string text(text_.substr(at_, end - at_));
    if (strip_left_) text.erase(0, text.find_first_not_of(" \t\r\n"));
    if (end < text_.size()) {
      const bool strips = end + 2 < text_.size() && text_[end + 2] == '-';
      const bool is_block = text_[end + 1] != '{';
      const bool keeps = end + 2 < text_.size() && text_[end + 2] == '+';
      if (strips) {
        text.erase(text.find_last_not_of(" \t\r\n") + 1);
      } else if (is_block && !keeps) {
        // Blanks before a block go if it is the first thing on its line.
        const size_t last = text.find_last_not_of(" \t");
        const bool line_begins = last == std::string::npos ? IsLineStart() : text[last] == '\n';
        if (line_begins) text.erase(last == std::string::npos ? 0 : last + 1);
      }
    }
    if (!text.empty()) pieces_.push_back({Piece::Kind::kText, std::move(text), line_});
    line_ += static_cast<int>(std::ranges::count(text_.substr(at_, end - at_), '\n'));
    at_ = end;
  }

  // Whether at_ is at the beginning of a line of the template.
  bool IsLineStart() const { return at_ == 0 || text_[at_ - 1] == '\n'; }

  void AddTag(size_t open) {
    const char kind = text_[open + 1];
    const char close_sign = kind == '{' ? '}' : kind;
    const size_t close = FindClose(open + 2, close_sign);
    std::string_view inner = text_.substr(open + 2, close - open - 2);
    strip_left_ = inner.ends_with('-');
    if (inner.starts_with('-') || inner.starts_with('+')) inner.remove_prefix(1);
    if (inner.ends_with('-') || inner.ends_with('+')) inner.remove_suffix(1);
    if (kind != '#') {
      pieces_.push_back(
          {kind == '{' ? Piece::Kind::kOutput : Piece::Kind::kBlock, std::string(inner), line_});
    }
    line_ += static_cast<int>(std::ranges::count(text_.substr(open, close + 2 - open), '\n'));
    at_ = close + 2;
    if (kind != '{' && at_ < text_.size() && text_[at_] == '\n') {  // trim_blocks
      ++at_;
      ++line_;
    }
  }

  // Where the tag ends, texts in quotes left alone.
  size_t FindClose(size_t from, char sign) const {
    char quote = 0;
    for (size_t i = from; i + 1 < text_.size(); ++i) {
      const char c = text_[i];
      if (quote != 0) {
        if (c == '\\') ++i;
        if (c == quote) quote = 0;
      } else if (sign != '#' && (c == '\'' || c == '"')) {
        quote = c;
      } else if (c == sign && text_[i + 1] == '}') {
        return i;
      }
    }
    Refuse(place_, line_, "an end to every tag", "none");
  }

  std::string_view text_, place_;
  size_t at_ = 0;
  int line_ = 1;
  bool strip_left_ = false;
  std::vector<Piece> pieces_;
};

std::vector<Token> TokensOf(const Piece& piece, std::string_view place) {
  std::vector<Token> tokens;
  const std::string& text = piece.text;
  int line = piece.line;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      ++i;
      continue;
    }
    Token token;
    token.line = line;
    const size_t begin = i;
    if (c >= '0' && c <= '9') {
      while (i < text.size() && (IsNameCharacter(text[i]) || text[i] == '.')) ++i;
      token.kind = Token::Kind::kNumber;
      token.text = text.substr(begin, i - begin);
    } else if (IsNameCharacter(c)) {
      while (i < text.size() && IsNameCharacter(text[i])) ++i;
      token.kind = Token::Kind::kName;
      token.text = text.substr(begin, i - begin);
    } else if (c == '\'' || c == '"') {
      token.kind = Token::Kind::kText;
      for (++i; i < text.size() && text[i] != c; ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
          token.text += text[i];
          continue;
        }
        const char escaped = text[++i];
        token.text += escaped == 'n'   ? '\n'
                      : escaped == 't' ? '\t'
                      : escaped == 'r' ? '\r'
                                       : escaped;
      }
      if (i == text.size()) Refuse(place, line, "an end to every text", "none");
      ++i;
    } else {
      token.kind = Token::Kind::kSign;
      static constexpr std::string_view kPairs[] = {"==", "!=", "<=", ">=", "//", "**"};
      const std::string two = text.substr(i, 2);
      token.text = std::ranges::find(kPairs, two) != std::end(kPairs) ? two : std::string(1, c);
      i += token.text.size();
    }
    tokens.push_back(std::move(token));
  }
  tokens.push_back({Token::Kind::kEnd, "", line});
  return tokens;
}

// --- expressions, by rising strength

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string_view place)
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

  bool TakeName(std::string_view name) { return Take(Token::Kind::kName, name); }
  bool TakeSign(std::string_view sign) { return Take(Token::Kind::kSign, sign); }
  std::string Name() {
    if (Here().kind != Token::Kind::kName) Refused("a name");
    return tokens_[at_++].text;
  }
  void RequireSign(std::string_view sign) {
    if (!TakeSign(sign)) Refused(StrCat("'", sign, "'"));
  }
  void RequireEnd() {
    if (Here().kind != Token::Kind::kEnd) Refused("the end of the tag");
  }
  const Token& Here() const { return tokens_[at_]; }
  [[noreturn]] void Refused(std::string_view expected) const {
    Refuse(place_, Here().line, expected,
           Here().kind == Token::Kind::kEnd ? "the end of the tag" : StrCat("'", Here().text, "'"));
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

  bool Take(Token::Kind kind, std::string_view text) {
    if (Here().kind != kind || Here().text != text) return false;
    ++at_;
    return true;
  }
  bool Is(Token::Kind kind, std::string_view text, size_t ahead = 0) const {
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
        return Is(Token::Kind::kName, one) || Is(Token::Kind::kSign, one);
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
      if (Is(Token::Kind::kName, "not") && Is(Token::Kind::kName, "in", 1)) {
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
    const Token token = Here();
    Expression made = Make(Expression::Kind::kLiteral, "");
    if (token.kind == Token::Kind::kText) {
      while (Here().kind == Token::Kind::kText) made.text += tokens_[at_++].text;
      made.value = std::exchange(made.text, {});
    } else if (token.kind == Token::Kind::kNumber) {
      ++at_;
      made.value = NumberOf(token);
    } else if (TakeSign("(")) {
      made = InlineIf();
      RequireSign(")");
    } else if (TakeSign("[")) {
      made.kind = Expression::Kind::kList;
      while (!TakeSign("]")) {
        made.inner.push_back(InlineIf());
        if (!Is(Token::Kind::kSign, "]")) RequireSign(",");
      }
    } else if (TakeSign("{")) {
      made.kind = Expression::Kind::kMap;
      while (!TakeSign("}")) {
        made.inner.push_back(InlineIf());
        RequireSign(":");
        made.inner.push_back(InlineIf());
        if (!Is(Token::Kind::kSign, "}")) RequireSign(",");
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

  Json NumberOf(const Token& token) const {
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
    Refuse(place_, token.line, "numbers", token.text);
  }

  Expression Postfix(Expression value) {
    while (true) {
      if (TakeSign(".")) {
        Expression made = Make(Expression::Kind::kAttribute, "");
        made.text = Here().kind == Token::Kind::kNumber ? tokens_[at_++].text : Name();
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
        if (!Is(Token::Kind::kSign, "]") && !Is(Token::Kind::kSign, ":")) Refused("']'");
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
      if (Here().kind == Token::Kind::kName && Is(Token::Kind::kSign, "=", 1)) {
        const std::string name = Name();
        RequireSign("=");
        call.names.push_back(name);
        call.named_values.push_back(InlineIf());
      } else {
        call.inner.push_back(InlineIf());
      }
      if (!Is(Token::Kind::kSign, ")")) RequireSign(",");
    }
  }

  std::vector<Token> tokens_;
  std::string_view place_;
  size_t at_ = 0;
  int depth_ = 0;
};

// --- statements

class StatementParser {
 public:
  StatementParser(std::vector<Piece> pieces, std::string_view place)
      : pieces_(std::move(pieces)), place_(place) {}

  std::vector<Node> Run() {
    std::vector<Node> nodes = Body({}, 0);
    if (at_ < pieces_.size()) {
      Refuse(place_, pieces_[at_].line, "a beginning for every end", pieces_[at_].text);
    }
    return nodes;
  }

 private:
  static std::string FirstWord(const Piece& piece) {
    const std::string text(Trim(piece.text));
    size_t end = 0;
    while (end < text.size() && IsNameCharacter(text[end])) ++end;
    return text.substr(0, end);
  }

  // Up to one of the words (which is left), or the end of the template.
  std::vector<Node> Body(const std::vector<std::string>& ends, int depth) {
    if (depth > 32) Refuse(place_, pieces_[at_].line, "at most 32 levels", "more");
    std::vector<Node> nodes;
    while (at_ < pieces_.size()) {
      const Piece& piece = pieces_[at_];
      Node node;
      node.line = piece.line;
      if (piece.kind == Piece::Kind::kText) {
        node.text = piece.text;
        ++at_;
      } else if (piece.kind == Piece::Kind::kOutput) {
        node.kind = Node::Kind::kOutput;
        node.expressions.push_back(ExpressionParser(TokensOf(piece, place_), place_).Whole());
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
    if (!ends.empty()) Refuse(place_, 0, StrCat("an '", ends.back(), "'"), "the end");
    return nodes;
  }

  Node Statement(const std::string& word, int depth) {
    ExpressionParser parser(TokensOf(pieces_[at_], place_), place_);
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
      Refuse(place_, node.line, "for, if, set and their ends", StrCat("'", word, "'"));
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
      ExpressionParser parser(TokensOf(pieces_[at_], place_), place_);
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

  std::vector<Piece> pieces_;
  std::string_view place_;
  size_t at_ = 0;
};

}  // namespace

std::vector<Node> ParseJinja(std::string_view text, std::string_view place) {
  if (!IsValidUtf8(text)) ThrowBadInput(place, "a chat template in UTF-8", "other bytes");
  // One line end at the end of the template is not part of it (Jinja's keep_trailing_newline).
  if (text.ends_with('\n')) text.remove_suffix(1);
  return StatementParser(Cutter(text, place).Run(), place).Run();
}

}  // namespace qualm
