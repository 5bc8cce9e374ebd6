// The small language of prompts in tasks/*.yaml: text with fields of a row in braces. No code: what
// a filter does has a name in a table.
//
//   {question.stem}             a value of the row; lists by index: {choices.0.text}
//   {question|strip|lower}      through filters; arguments behind colons: {text|before:_}
//   {for c in choices}{letter}. {c}\n{end}     over a list; inside, {letter} is A, B, ..., {number}
//                               1, 2, ... and {index} 0, 1, ...
//   {if passage}{passage}\n{end}                only if the value is there and neither empty nor 0
//   {with hellaswag}{a} {b}{end}               a filter on what stands inside
//   {{ and }}                   braces
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace qualm {

class Template {
 public:
  Template();  // of the empty text
  // Throws bad input at `place` for braces that do not match, unknown filters and loops without
  // end.
  Template(std::string_view text, std::string_view place);
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // Throws bad input at `place` (of the row) for a field that is not there or is no text or number.
  std::string Render(const Json& scope, std::string_view place) const;
  // Whether the text names the variable: what does not depend on it needs to be made only once.
  bool Uses(std::string_view variable) const;

  // Whether the text names nothing.
  bool IsConstant() const;

  struct Part;

 private:
  std::vector<Part> parts_;
};

// The value at a dotted path; null if it is not there.
const Json* FindPath(const Json& scope, std::string_view path);

std::vector<std::string> TemplateFilterNames();

}  // namespace qualm
