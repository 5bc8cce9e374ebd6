// Parses text, outputs and blocks into nodes, by the grammar of jinja2/parser.py.
#include <algorithm>

#include "base/strings.h"
#include "chat/jinja/hidden_names.h"
#include "chat/jinja/parser.h"

namespace qualm::jinja {
namespace {

class StatementParser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Syntax Run() {
    syntax_.body = Body({});
    return std::move(syntax_);
  }

 private:
  // Up to a block whose name is one of `ends` (its "{%" is taken, the name is not), or the end of
  // the template.
  std::vector<Node> Body(std::initializer_list<std::string_view> ends) {
    const Depth depth(*this);
    std::vector<Node> nodes;
    while (Here().kind != Token::Kind::kEnd) {
      if (Here().kind == Token::Kind::kData) {
        Node& node = Add(nodes, Node::Kind::kText);
        node.text = std::move(tokens_[at_++].text);
      } else if (Take(Token::Kind::kOutputBegin)) {
        Node& node = Add(nodes, Node::Kind::kOutput);
        node.expressions.push_back(TupleOrOne(/*with_condition=*/true));
        if (!Take(Token::Kind::kOutputEnd)) Refuse("the end of the tag");
        RefuseUnknown();
      } else {
        ++at_;  // "{%": nothing else is outside of tags
        if (std::ranges::any_of(ends, [&](std::string_view end) { return IsName(end); })) {
          return nodes;
        }
        nodes.push_back(Statement(ends));
        if (!Take(Token::Kind::kBlockEnd)) Refuse("the end of the tag");
        RefuseUnknown();
      }
    }
    if (ends.size() > 0) Refuse(StrCat("'", *(ends.end() - 1), "'"));
    return nodes;
  }

  Node& Add(std::vector<Node>& nodes, Node::Kind kind) {
    Node& node = nodes.emplace_back();
    node.kind = kind;
    node.line = Here().line;
    return node;
  }

  // The end of the tag, with a colon before it if somebody likes, and a body.
  std::vector<Node> TagBody(std::initializer_list<std::string_view> ends) {
    TakeSign(":");
    if (!Take(Token::Kind::kBlockEnd)) Refuse("the end of the tag");
    return Body(ends);
  }
  // The same with the one end taken.
  std::vector<Node> WholeBody(std::string_view end) {
    std::vector<Node> body = TagBody({end});
    ++at_;
    return body;
  }

  Node Statement(std::initializer_list<std::string_view> ends) {
    // ADD A BLOCK: its name and how it is parsed.
    static constexpr std::pair<std::string_view, void (StatementParser::*)(Node&)> kBlocks[] = {
        {"for", &StatementParser::For},        {"if", &StatementParser::If},
        {"set", &StatementParser::Set},        {"macro", &StatementParser::Macro},
        {"call", &StatementParser::CallBlock}, {"filter", &StatementParser::FilterBlock},
        {"with", &StatementParser::With},      {"print", &StatementParser::Print},
        {"block", &StatementParser::Block},    {"autoescape", &StatementParser::Autoescape}};
    static constexpr std::pair<std::string_view, void (StatementParser::*)(Node&)> kChatBlocks[] = {
        {"generation", &StatementParser::Generation},
        {"break", &StatementParser::Break},
        {"continue", &StatementParser::Continue}};
    Node node;
    node.line = Here().line;
    for (const auto& [name, parse] : kBlocks) {
      if (!TakeName(name)) continue;
      (this->*parse)(node);
      return node;
    }
    for (const auto& [name, parse] : kChatBlocks) {
      if (!options_.is_chat || !TakeName(name)) continue;
      (this->*parse)(node);
      return node;
    }

    for (const std::string_view other : {"include", "import", "from", "extends"}) {
      if (IsName(other)) Refuse("a template that needs no others");
    }
    Refuse(ends.size() == 0 ? std::string("a block that Jinja has")
                            : StrCat("'", *(ends.end() - 1), "' or a block that Jinja has"));
  }

  // --- what is assigned to

  Node::Target TargetPart(bool with_namespace) {
    if (TakeSign("(")) {
      Node::Target target = TargetTuple(with_namespace);
      RequireSign(")");
      return target;
    }
    for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
      if (IsName(constant)) Refuse("a name to assign to");
    }
    Node::Target target;
    target.symbol = SymbolOf(RequireAnyName());
    if (with_namespace && TakeSign(".")) target.attribute = RequireAnyName();
    return target;
  }

  Node::Target TargetTuple(bool with_namespace) {
    const Depth depth(*this);
    Node::Target target;
    while (true) {
      if (!target.parts.empty()) RequireSign(",");
      if (Here().kind == Token::Kind::kBlockEnd || IsSign(")")) {
        break;
      }
      target.parts.push_back(TargetPart(with_namespace));
      if (!IsSign(",")) break;
      target.is_tuple = true;
    }

    if (target.parts.empty()) Refuse("a name to assign to");
    if (target.is_tuple) return target;
    Node::Target only = std::move(target.parts[0]);
    return only;
  }

  static bool HasSymbol(const Node::Target& target, int symbol) {
    if (!target.is_tuple) return target.symbol == symbol;
    return std::ranges::any_of(target.parts,
                               [&](const Node::Target& part) { return HasSymbol(part, symbol); });
  }

  // --- blocks

  void For(Node& node) {
    node.kind = Node::Kind::kFor;
    node.target = TargetTuple(/*with_namespace=*/false);
    if (HasSymbol(node.target, SymbolOf("loop"))) Refuse("a target that is not named 'loop'");
    if (!TakeName("in")) Refuse("'in'");
    node.expressions.push_back(TupleOrOne(/*with_condition=*/false, "recursive"));
    const bool was_lenient = std::exchange(is_lenient_, false);
    if (TakeName("if")) node.expressions.push_back(Condition());
    node.is_recursive = TakeName("recursive");

    ++loops_;
    node.bodies.push_back(TagBody({"else", "endfor"}));
    --loops_;
    node.bodies.emplace_back();
    if (TakeName("else")) {
      node.bodies[1] = WholeBody("endfor");
    } else {
      ++at_;
    }
    is_lenient_ = was_lenient;
  }

  void If(Node& node) {
    node.kind = Node::Kind::kIf;
    const bool was_lenient = is_lenient_;
    do {
      node.expressions.push_back(TupleOrOne(/*with_condition=*/false));
      is_lenient_ = true;
      node.bodies.push_back(TagBody({"elif", "else", "endif"}));
    } while (TakeName("elif"));
    if (TakeName("else")) {
      node.bodies.push_back(WholeBody("endif"));
    } else {
      ++at_;
      node.bodies.emplace_back();
    }
    is_lenient_ = was_lenient;
  }

  void Set(Node& node) {
    node.target = TargetTuple(/*with_namespace=*/true);
    if (TakeSign("=")) {
      node.kind = Node::Kind::kSet;
      node.expressions.push_back(TupleOrOne(/*with_condition=*/true));
      return;
    }
    node.kind = Node::Kind::kSetBlock;
    node.filters.push_back(FilterChain(/*starts_with_sign=*/true));
    node.bodies.push_back(WholeBody("endset"));
  }

  // "(a, b=1)": the names, and the defaults of the last of them.
  void Signature(Node& node) {
    RequireSign("(");
    bool has_defaults = false;
    while (!TakeSign(")")) {
      if (!node.parameters.empty()) RequireSign(",");
      node.parameters.push_back(SymbolOf(RequireAnyName()));
      if (TakeSign("=")) {
        has_defaults = true;
        node.expressions.push_back(Condition());
      } else if (has_defaults) {
        Refuse("a default for each parameter after one with a default");
      }
    }
  }

  // The body of something that is called: loops around it are not its own.
  void MacroBody(Node& node, std::string_view end) {
    const int loops_around = std::exchange(loops_, 0);
    const bool was_lenient = std::exchange(is_lenient_, false);
    macros_.emplace_back();
    node.bodies.push_back(WholeBody(end));
    node.uses_caller = macros_.back().caller;
    node.uses_varargs = macros_.back().varargs;
    node.uses_kwargs = macros_.back().kwargs;
    macros_.pop_back();
    is_lenient_ = was_lenient;
    loops_ = loops_around;
  }

  void Macro(Node& node) {
    node.kind = Node::Kind::kMacro;
    node.text = RequireAnyName();
    node.symbol = SymbolOf(node.text);
    Signature(node);
    MacroBody(node, "endmacro");
  }

  void CallBlock(Node& node) {
    node.kind = Node::Kind::kCallBlock;
    node.text = "caller";
    node.symbol = SymbolOf(node.text);
    if (IsSign("(")) Signature(node);
    Expression call = Condition();
    const bool is_call = call.kind == Expression::Kind::kPostfix &&
                         call.steps.back().kind == Expression::Step::Kind::kCall;
    if (!is_call) Refuse("a call");
    node.expressions.insert(node.expressions.begin(), std::move(call));
    MacroBody(node, "endcall");
  }

  void FilterBlock(Node& node) {
    node.kind = Node::Kind::kFilterBlock;
    node.filters.push_back(FilterChain(/*starts_with_sign=*/false));
    node.bodies.push_back(WholeBody("endfilter"));
  }

  void With(Node& node) {
    node.kind = Node::Kind::kWith;
    node.target.is_tuple = true;
    while (Here().kind != Token::Kind::kBlockEnd && !IsSign(":")) {
      if (!node.expressions.empty()) RequireSign(",");
      node.target.parts.push_back(TargetTuple(/*with_namespace=*/false));
      RequireSign("=");
      node.expressions.push_back(Condition());
    }
    node.bodies.push_back(WholeBody("endwith"));
  }

  void Print(Node& node) {
    node.kind = Node::Kind::kOutput;
    while (Here().kind != Token::Kind::kBlockEnd) {
      if (!node.expressions.empty()) RequireSign(",");
      node.expressions.push_back(Condition());
    }
  }

  void Block(Node& node) {
    node.kind = Node::Kind::kBlock;
    node.text = RequireAnyName();
    if (IsName("required")) Refuse("a block that can be rendered");
    TakeName("scoped");
    MacroBody(node, "endblock");
    TakeName(node.text);
  }

  void Autoescape(Node& node) {
    node.kind = Node::Kind::kScope;
    if (!IsName("false") && !IsName("False")) Refuse("autoescape false");
    ++at_;
    node.bodies.push_back(WholeBody("endautoescape"));
  }

  // Marks what the assistant said; the text is as without it.
  void Generation(Node& node) {
    node.kind = Node::Kind::kScope;
    MacroBody(node, "endgeneration");
  }

  void Break(Node& node) {
    node.kind = Node::Kind::kBreak;
    if (loops_ == 0) Refuse("break in a loop");
  }
  void Continue(Node& node) {
    node.kind = Node::Kind::kContinue;
    if (loops_ == 0) Refuse("continue in a loop");
  }

  int loops_ = 0;  // around what is being parsed
};

}  // namespace

Syntax Parse(std::string_view text, std::string_view place, const JinjaOptions& options) {
  Syntax syntax = StatementParser(Tokenize(text, place, options), place, options).Run();
  FindHiddenNames(syntax);
  return syntax;
}

}  // namespace qualm::jinja
