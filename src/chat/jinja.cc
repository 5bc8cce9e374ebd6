// The public face of the engine in chat/jinja/: parses once, renders with a new evaluator each
// time.
#include "chat/jinja.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "chat/jinja/evaluator.h"
#include "chat/jinja/syntax.h"

namespace qualm {
namespace {

// What the variables take as text, more or less: the measure of a rendering's budget.
size_t SizeOfVariables(const Json& json) {
  size_t size = 8;
  if (json.is_string()) size += json.get_ref<const std::string&>().size();
  for (const auto& [name, one] : json.items()) {
    if (json.is_structured()) size += name.size() + SizeOfVariables(one);
  }
  return size;
}

}  // namespace

struct JinjaTemplate::Parsed {
  std::string place;
  JinjaOptions options;
  size_t bytes = 0;  // of the template
  jinja::Syntax syntax;
};

JinjaOptions PlainJinjaOptions() {
  JinjaOptions plain;
  plain.trim_blocks = plain.lstrip_blocks = false;
  plain.is_sandboxed = plain.is_chat = false;
  return plain;
}

JinjaTemplate::JinjaTemplate(std::string_view text, std::string_view place, JinjaOptions options)
    : parsed_(std::make_unique<Parsed>()) {
  parsed_->place = place;
  parsed_->options = std::move(options);
  parsed_->bytes = text.size();
  parsed_->syntax = jinja::Parse(text, parsed_->place, parsed_->options);
}
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate& JinjaTemplate::operator=(JinjaTemplate&&) noexcept = default;
JinjaTemplate::~JinjaTemplate() = default;

std::string JinjaTemplate::Render(const Json& variables) const {
  if (!variables.is_object()) {
    ThrowBadInput(parsed_->place, "an object of variables", variables.type_name());
  }
  const size_t bytes = parsed_->bytes + SizeOfVariables(variables);
  return jinja::Evaluator(parsed_->syntax, parsed_->place, parsed_->options, bytes).Run(variables);
}

}  // namespace qualm
