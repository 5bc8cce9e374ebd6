// How a model that was made for conversations wants to be spoken to.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja.h"
#include "io/input_set.h"

namespace qualm {

struct ChatMessage {
  std::string role, content;  // "system", "user", "assistant"
};

class ChatTemplate {
 public:
  // The text of all messages, and what stands before the assistant's next words.
  std::string Render(const std::vector<ChatMessage>& messages) const;
  // A name of NamedChatTemplates, "model" for the model's own, else the file's stem.
  const std::string& name() const { return name_; }
  // The files that it was read from; of a named one its text.
  const InputSet& inputs() const { return inputs_; }

 private:
  friend ChatTemplate FindChatTemplate(const std::string&, const std::filesystem::path&);
  ChatTemplate(std::string name, std::string_view text, std::string_view place, std::string bos,
               std::string eos, InputSet inputs);

  std::string name_, bos_, eos_;
  JinjaTemplate jinja_;
  InputSet inputs_;
};

struct NamedChatTemplate {
  const char* name;
  const char* summary;
  const char* text;
};
const std::vector<NamedChatTemplate>& NamedChatTemplates();

// A named one, a file of a template's own (a path), or for an empty name the one in the model
// folder's tokenizer_config.json (or chat_template.jinja beside it). Throws bad input for unknown
// names, folders without a template and templates that are not understood.
ChatTemplate FindChatTemplate(const std::string& name, const std::filesystem::path& model_folder);

}  // namespace qualm
