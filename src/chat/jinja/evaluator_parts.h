// Inside of Evaluator: what holds for as long as a C++ scope lives.
#pragma once

#include "chat/jinja/evaluator.h"

namespace qualm::jinja {

// Macros that call themselves nest evaluation; the nesting of the template itself is far below.
inline constexpr int kDeepestEvaluation = 1000;

class Evaluator::Level {
 public:
  explicit Level(Evaluator& evaluator) : evaluator_(evaluator) {
    if (++evaluator_.depth_ > kDeepestEvaluation) {
      evaluator_.Refuse("macros and loops that call themselves less often", "too many calls");
    }
  }
  ~Level() { --evaluator_.depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  Evaluator& evaluator_;
};

class Evaluator::InnerScope {
 public:
  // `hidden`: names that are the scope's own from its beginning on.
  InnerScope(Evaluator& evaluator, Scope* parent, const std::vector<int>& hidden = {})
      : evaluator_(evaluator), old_(evaluator.scope_) {
    evaluator_.scope_ = evaluator_.New<Scope>();
    evaluator_.scope_->parent = parent;
    evaluator_.Hide(hidden);
  }
  ~InnerScope() { evaluator_.scope_ = old_; }
  InnerScope(const InnerScope&) = delete;
  InnerScope& operator=(const InnerScope&) = delete;

 private:
  Evaluator& evaluator_;
  Scope* old_;
};

class Evaluator::Capture {
 public:
  Capture(Evaluator& evaluator, std::string* buffer) : evaluator_(evaluator), old_(evaluator.out_) {
    evaluator_.out_ = buffer;
  }
  ~Capture() { evaluator_.out_ = old_; }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

 private:
  Evaluator& evaluator_;
  std::string* old_;
};

// Throws bad input for a name that transformers does not let a namespace have.
void CheckNamespaceName(const Runtime& runtime, std::string_view name);

}  // namespace qualm::jinja
