#include "chat/jinja.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/strings.h"
#include "chat/jinja_parts.h"
#include "chat/jinja_values.h"

namespace qualm {
namespace {

using Node = JinjaTemplate::Node;
using Expression = JinjaTemplate::Expression;

constexpr size_t kMostBytes = size_t{16} << 20;
constexpr uint64_t kMostSteps = 1000000;

class Renderer {
 public:
  Renderer(const Json& variables, std::string_view place) : place_(place) {
    scopes_.emplace_back();
    for (const auto& [name, value] : variables.items()) scopes_[0][name] = value;
  }

  std::string Run(const std::vector<Node>& nodes) {
    Body(nodes);
    return std::move(out_);
  }

 private:
  [[noreturn]] void Refuse(int line, std::string_view expected, std::string_view got) const {
    ThrowBadInput(StrCat(place_, ":", line), expected, got);
  }

  void Step(int line) {
    if (++steps_ > kMostSteps) Refuse(line, "a chat template of at most a million steps", "more");
  }

  // --- statements

  void Body(const std::vector<Node>& nodes) {
    for (const Node& node : nodes) {
      Step(node.line);
      switch (node.kind) {
        case Node::Kind::kText:
          Put(node.text, node.line);
          break;
        case Node::Kind::kOutput:
          Put(TextOf(Value(node.expressions[0])), node.line);
          break;
        case Node::Kind::kSet:
          Set(node);
          break;
        case Node::Kind::kIf:
          If(node);
          break;
        case Node::Kind::kFor:
          For(node);
          break;
      }
    }
  }

  void Put(std::string_view text, int line) {
    if (out_.size() + text.size() > kMostBytes) Refuse(line, "at most 16 MiB of text", "more");
    out_ += text;
  }

  void Set(const Node& node) {
    Json value = Value(node.expressions[0]);
    if (node.attribute.empty()) {
      scopes_.back()[node.text] = std::move(value);
      return;
    }
    for (size_t i = scopes_.size(); i-- > 0;) {
      const auto found = scopes_[i].find(node.text);
      if (found == scopes_[i].end()) continue;
      if (!found->second.is_object()) break;
      found->second[node.attribute] = std::move(value);
      return;
    }
    Refuse(node.line, "a namespace to set something in", StrCat("'", node.text, "'"));
  }

  void If(const Node& node) {
    for (size_t i = 0; i < node.expressions.size(); ++i) {
      if (IsTrue(Value(node.expressions[i]))) return Body(node.bodies[i]);
    }
    Body(node.bodies.back());
  }

  void For(const Node& node) {
    const std::vector<Json> elements = ElementsOf(node);
    if (elements.empty()) return Body(node.bodies[1]);
    scopes_.emplace_back();
    for (size_t i = 0; i < elements.size(); ++i) {
      Step(node.line);
      scopes_.back().clear();
      Bind(node, elements[i]);
      Json loop = {{"index", i + 1},
                   {"index0", i},
                   {"revindex", elements.size() - i},
                   {"revindex0", elements.size() - i - 1},
                   {"first", i == 0},
                   {"last", i + 1 == elements.size()},
                   {"length", elements.size()}};
      if (i > 0) loop["previtem"] = elements[i - 1];
      if (i + 1 < elements.size()) loop["nextitem"] = elements[i + 1];
      scopes_.back()["loop"] = std::move(loop);
      Body(node.bodies[0]);
    }
    scopes_.pop_back();
  }

  void Bind(const Node& node, const Json& element) {
    if (node.names.size() == 1) {
      scopes_.back()[node.names[0]] = element;
      return;
    }
    if (!element.is_array() || element.size() != node.names.size()) {
      Refuse(node.line, StrCat(node.names.size(), " values to take apart"), TypeName(element));
    }
    for (size_t i = 0; i < node.names.size(); ++i) scopes_.back()[node.names[i]] = element[i];
  }

  std::vector<Json> ElementsOf(const Node& node) {
    const Json list = Value(node.expressions[0]);
    std::vector<Json> all;
    if (list.is_object()) {
      for (const auto& [key, value] : list.items()) all.emplace_back(key);
    } else if (list.is_array()) {
      all.assign(list.begin(), list.end());
    } else if (!IsUndefined(list)) {
      Refuse(node.line, "a list to go through", TypeName(list));
    }
    if (node.expressions.size() == 1) return all;
    std::vector<Json> kept;
    scopes_.emplace_back();
    for (const Json& element : all) {
      Bind(node, element);
      if (IsTrue(Value(node.expressions[1]))) kept.push_back(element);
    }
    scopes_.pop_back();
    return kept;
  }

  // --- expressions

  Json Value(const Expression& expression) {
    Step(expression.line);
    using Kind = Expression::Kind;
    const auto inner = [&](size_t i) { return Value(expression.inner[i]); };
    switch (expression.kind) {
      case Kind::kLiteral:
        return expression.value;
      case Kind::kName:
        return Variable(expression.text);
      case Kind::kList: {
        Json list = Json::array();
        for (const Expression& one : expression.inner) list.push_back(Value(one));
        return list;
      }
      case Kind::kMap: {
        Json map = Json::object();
        for (size_t i = 0; i < expression.inner.size(); i += 2)
          map[TextOf(inner(i))] = inner(i + 1);
        return map;
      }
      case Kind::kAttribute:
        return ElementOf(inner(0), Json(expression.text));
      case Kind::kIndex:
        return ElementOf(inner(0), inner(1));
      case Kind::kSlice:
        return SliceOf(inner(0), inner(1), inner(2), inner(3), Where(expression));
      case Kind::kCall:
        return Call(expression);
      case Kind::kFilter:
        return FilterOf(expression.text, inner(0), Arguments(expression, 1), Where(expression));
      case Kind::kTest:
        return TestOf(expression.text, inner(0), Where(expression)) != expression.is_negated;
      case Kind::kUnary:
        if (expression.text == "not") return !IsTrue(inner(0));
        return BinaryOf("-", 0, inner(0), Where(expression));
      case Kind::kBinary:
        return Binary(expression);
      case Kind::kInlineIf:
        return IsTrue(inner(0)) ? inner(1) : inner(2);
    }
    return {};
  }

  std::string Where(const Expression& expression) const {
    return StrCat(place_, ":", expression.line);
  }

  Json Variable(const std::string& name) const {
    for (size_t i = scopes_.size(); i-- > 0;) {
      const auto found = scopes_[i].find(name);
      if (found != scopes_[i].end()) return found->second;
    }
    return Undefined();
  }

  // and, or give one of their sides, as Python does.
  Json Binary(const Expression& expression) {
    Json left = Value(expression.inner[0]);
    if (expression.text == "and") return IsTrue(left) ? Value(expression.inner[1]) : left;
    if (expression.text == "or") return IsTrue(left) ? left : Value(expression.inner[1]);
    return BinaryOf(expression.text, left, Value(expression.inner[1]), Where(expression));
  }

  std::vector<Json> Arguments(const Expression& expression, size_t first) {
    std::vector<Json> arguments;
    for (size_t i = first; i < expression.inner.size(); ++i) {
      arguments.push_back(Value(expression.inner[i]));
    }
    return arguments;
  }

  Json Call(const Expression& expression) {
    const Expression& called = expression.inner[0];
    std::vector<Json> arguments = Arguments(expression, 1);
    if (called.kind == Expression::Kind::kAttribute) {
      return MethodOf(called.text, Value(called.inner[0]), arguments, Where(expression));
    }
    if (called.kind == Expression::Kind::kName) {
      if (called.text == "raise_exception" && !arguments.empty()) {
        ThrowBadInput(Where(expression), "messages that the chat template takes",
                      TextOf(arguments[0]));
      }
      if (called.text == "namespace" || called.text == "dict") {
        Json made = Json::object();
        for (size_t i = 0; i < expression.names.size(); ++i) {
          made[expression.names[i]] = Value(expression.named_values[i]);
        }
        return made;
      }
      if (called.text == "range") return RangeOf(arguments, Where(expression));
    }
    Refuse(expression.line,
           "a chat template with raise_exception, namespace, dict, range or methods",
           StrCat("a call of '", called.text, "'"));
  }

  std::string_view place_;
  std::vector<std::map<std::string, Json>> scopes_;
  std::string out_;
  uint64_t steps_ = 0;
};

}  // namespace

JinjaOptions PlainJinjaOptions() {
  JinjaOptions plain;
  plain.trim_blocks = plain.lstrip_blocks = false;
  plain.is_sandboxed = plain.is_chat = false;
  return plain;
}

JinjaTemplate::JinjaTemplate(std::string_view text, std::string_view place, JinjaOptions options)
    : place_(place), options_(std::move(options)), nodes_(ParseJinja(text, place)) {
  if (!options_.is_chat || !options_.filters.empty()) {
    ThrowBadInput(place, "the settings of chat templates", "others");
  }
}
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate& JinjaTemplate::operator=(JinjaTemplate&&) noexcept = default;
JinjaTemplate::~JinjaTemplate() = default;

std::string JinjaTemplate::Render(const Json& variables) const {
  return Renderer(variables, place_).Run(nodes_);
}

}  // namespace qualm
