// Inside of ChatTemplate: what a model folder says about chat templates.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/input_set.h"
#include "io/json.h"

namespace qualm {

// The folder of further templates in a model's folder.
inline constexpr const char* kMoreTemplatesFolder = "additional_chat_templates";

struct ModelTemplate {
  std::string name;  // "default", "tool_use", "rag"
  std::string text;
  std::string place;  // where it was read, for messages
};

struct ModelTemplates {
  std::vector<ModelTemplate> templates;
  Json special_tokens;  // bos_token, eos_token, pad_token, ...: those that the model names
  InputSet inputs;      // the files that were read
};

// chat_template.jinja (named default) and additional_chat_templates/*.jinja win over the
// chat_template of tokenizer_config.json: one text, or a list of named ones. A folder without any
// of these files, and an empty path, have no templates and no tokens. Throws bad input for files of
// another form.
ModelTemplates ReadModelTemplates(const std::filesystem::path& folder, bool with_templates);

// The one named tool_use if `has_tools`, else the one named default. Throws bad input at `folder`
// if there is none, with the hint that `flag`, where users name templates, takes one by name.
const ModelTemplate& ChooseModelTemplate(const ModelTemplates& all, bool has_tools,
                                         std::string_view folder, std::string_view flag);

}  // namespace qualm
