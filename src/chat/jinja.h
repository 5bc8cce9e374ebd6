// The part of Jinja that chat templates in tokenizer_config.json are written in, with the settings
// that Hugging Face renders them with (trim_blocks, lstrip_blocks): for, if, set, namespaces;
// attributes, indexes, slices, calls of a few methods, filters and tests; arithmetic, comparison,
// in, and, or, not, inline if. No imports, macros or access to anything but the given variables.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "io/json.h"

namespace qualm {

class JinjaTemplate {
 public:
  // Throws bad input at "place:line" for what it does not know.
  JinjaTemplate(std::string_view text, std::string_view place);
  JinjaTemplate(JinjaTemplate&&) noexcept;
  JinjaTemplate& operator=(JinjaTemplate&&) noexcept;
  ~JinjaTemplate();

  // `variables` is an object. Throws bad input for a template that calls raise_exception (with its
  // words), uses an unknown method, adds a text to a number, writes more than 16 MiB or takes more
  // than a million steps.
  std::string Render(const Json& variables) const;

  struct Node;
  struct Expression;

 private:
  std::string place_;
  std::vector<Node> nodes_;
};

}  // namespace qualm
