// Jinja templates: the language of jinja2 3.1, except what loads other templates (include, import,
// extends). A template is parsed once and rendered with variables as often as wanted, also from
// several threads. Templates are files that are not trusted: nesting, steps and bytes of one
// rendering are bounded.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace qualm {

// A filter in addition to Jinja's own.
struct JinjaFilter {
  std::string name;
  // Names of the arguments after the value, in their order. One that ends in '?' may be left out;
  // the filter then gets null. They can be given by position or by name.
  std::vector<std::string> parameters;
  std::function<Json(const Json& value, const std::vector<Json>& arguments)> apply;
};

// The settings of a jinja2 Environment. The defaults are those that chat templates are rendered
// with by transformers.
struct JinjaOptions {
  bool trim_blocks = true;             // the line end after a block tag is dropped
  bool lstrip_blocks = true;           // blanks before a block tag that begins a line are dropped
  bool keep_trailing_newline = false;  // one line end at the end of the template is kept
  bool strict_undefined = false;       // what is not defined can only be asked whether it is
  // Lists and dicts cannot be changed by their methods, and a namespace takes no names with '_'.
  bool is_sandboxed = true;
  // raise_exception, strftime_now, {% generation %}, {% break %}, {% continue %}, and tojson as
  // json.dumps writes it; else tojson escapes HTML as Jinja's own does.
  bool is_chat = true;
  std::string date;  // YYYY-MM-DD, midnight, for strftime_now; empty: the clock of this machine
  std::vector<JinjaFilter> filters;
};

// What jinja2.Environment() is without any setting.
JinjaOptions PlainJinjaOptions();

class JinjaTemplate {
 public:
  // Throws bad input at "place:line" for what it does not know.
  JinjaTemplate(std::string_view text, std::string_view place, JinjaOptions options = {});
  JinjaTemplate(JinjaTemplate&&) noexcept;
  JinjaTemplate& operator=(JinjaTemplate&&) noexcept;
  ~JinjaTemplate();

  // `variables` is an object. Throws bad input at "place:line" where jinja2 raises an exception
  // (with its words for raise_exception), and for a rendering that takes too many steps, too much
  // memory or too much nesting.
  std::string Render(const Json& variables) const;

  struct Node;
  struct Expression;

 private:
  struct Parsed;
  std::unique_ptr<Parsed> parsed_;
};

}  // namespace qualm
