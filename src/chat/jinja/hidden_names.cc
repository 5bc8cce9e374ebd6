// Follows jinja2/idtracking.py: one pass over the statements of a block finds the names that the
// block itself mentions, then the blocks inside it are looked at with those names around them.
#include "chat/jinja/hidden_names.h"

#include <algorithm>
#include <functional>
#include <set>

namespace qualm::jinja {
namespace {

// The names that a block mentions.
struct Names {
  const Names* around = nullptr;
  std::set<int> mentioned, hidden;

  bool Knows(int symbol) const {
    return mentioned.contains(symbol) || (around != nullptr && around->Knows(symbol));
  }
  void Declare(int symbol) { mentioned.insert(symbol); }
  void Load(int symbol) {
    if (!Knows(symbol)) mentioned.insert(symbol);
  }
  void Store(int symbol) {
    if (!Knows(symbol)) hidden.insert(symbol);
    Declare(symbol);
  }
};

void LoadAll(const Expression& expression, Names& names) {
  if (expression.kind == Expression::Kind::kName) names.Load(expression.symbol);
  for (const Expression& part : expression.parts) LoadAll(part, names);
  for (const Expression::Step& step : expression.steps) {
    for (const auto* list : {&step.arguments, &step.rest, &step.named_rest}) {
      for (const Expression& one : *list) LoadAll(one, names);
    }
  }
}

void ForEachName(const Node::Target& target, const std::function<void(const Node::Target&)>& call) {
  if (!target.is_tuple) return call(target);
  for (const Node::Target& part : target.parts) ForEachName(part, call);
}

void StoreTarget(const Node::Target& target, Names& names) {
  ForEachName(target, [&](const Node::Target& one) {
    // An attribute is set of a namespace that is there already.
    if (one.attribute.empty()) {
      names.Store(one.symbol);
    } else {
      names.Load(one.symbol);
    }
  });
}

void Mention(const std::vector<Node>& body, Names& names);

// What only some branches assign may come from outside of the block, so it is never hidden. A
// branch sees what was mentioned before the condition, but not the other branches.
void MentionBranches(const Node& node, Names& names) {
  LoadAll(node.expressions[0], names);
  Names merged;
  for (size_t i = 0; i < node.bodies.size(); ++i) {
    Names branch;
    branch.around = &names;
    if (i > 0 && i < node.expressions.size()) LoadAll(node.expressions[i], branch);
    Mention(node.bodies[i], branch);
    merged.mentioned.insert(branch.mentioned.begin(), branch.mentioned.end());
  }
  names.mentioned.insert(merged.mentioned.begin(), merged.mentioned.end());
}

// The names that the statements of a block mention, those of blocks inside it left out.
void Mention(const std::vector<Node>& body, Names& names) {
  for (const Node& node : body) {
    switch (node.kind) {
      case Node::Kind::kOutput:
      case Node::Kind::kWith:
        for (const Expression& one : node.expressions) LoadAll(one, names);
        break;
      case Node::Kind::kFor:
      case Node::Kind::kCallBlock:
        LoadAll(node.expressions[0], names);
        break;
      case Node::Kind::kIf:
        MentionBranches(node, names);
        break;
      case Node::Kind::kSet:
        LoadAll(node.expressions[0], names);
        StoreTarget(node.target, names);
        break;
      case Node::Kind::kSetBlock:
        StoreTarget(node.target, names);
        break;
      case Node::Kind::kMacro:
        names.Store(node.symbol);
        break;
      case Node::Kind::kFilterBlock:
        LoadAll(node.filters[0], names);
        break;
      default:
        break;
    }
  }
}

class Finder {
 public:
  explicit Finder(Syntax& syntax) : syntax_(syntax) {
    for (size_t i = 0; i < syntax.symbols.size(); ++i) {
      for (const char* name : {"loop", "caller", "varargs", "kwargs"}) {
        if (syntax.symbols[i] == name) special_.push_back(static_cast<int>(i));
      }
    }
  }

  void Run() { syntax_.hidden = InBlock(syntax_.body, Names()); }

 private:
  // The hidden names of a block whose parameters are in `names`; those of blocks inside it are
  // written to their nodes.
  std::vector<int> InBlock(std::vector<Node>& body, Names names) {
    Mention(body, names);
    for (Node& node : body) InNode(node, names);
    return {names.hidden.begin(), names.hidden.end()};
  }

  void InNode(Node& node, const Names& around) {
    if (node.kind == Node::Kind::kIf) {
      for (std::vector<Node>& branch : node.bodies) {
        for (Node& inner : branch) InNode(inner, around);
      }
      return;
    }
    if (node.bodies.empty()) return;

    Names names;
    if (node.kind != Node::Kind::kBlock) names.around = &around;
    Names plain = names;
    Parameters(node, names);
    node.hidden = InBlock(node.bodies[0], names);
    if (node.bodies.size() > 1) node.hidden_in_else = InBlock(node.bodies[1], plain);
  }

  void Parameters(const Node& node, Names& names) const {
    for (const int symbol : node.parameters) names.Declare(symbol);
    for (const int symbol : special_) names.Declare(symbol);
    if (node.kind == Node::Kind::kFor || node.kind == Node::Kind::kWith) {
      ForEachName(node.target, [&](const Node::Target& one) { names.Declare(one.symbol); });
    }
    const bool has_defaults =
        node.kind == Node::Kind::kMacro || node.kind == Node::Kind::kCallBlock;
    const size_t first = node.kind == Node::Kind::kCallBlock ? 1 : 0;
    for (size_t i = first; has_defaults && i < node.expressions.size(); ++i) {
      LoadAll(node.expressions[i], names);
    }
  }

  Syntax& syntax_;
  std::vector<int> special_;  // names that blocks have without a parameter
};

}  // namespace

void FindHiddenNames(Syntax& syntax) { Finder(syntax).Run(); }

}  // namespace qualm::jinja
