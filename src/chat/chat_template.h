// How a model that was made for conversations wants to be spoken to: its chat template, rendered
// as transformers' apply_chat_template renders it.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja.h"
#include "io/input_set.h"

namespace qualm {

struct ChatMessage {
  std::string role, content;  // "system", "user", "assistant"
};

// What a template is rendered with, apart from the messages.
struct ChatOptions {
  std::string date;                     // YYYY-MM-DD, for strftime_now; empty: today
  Json variables = Json::object();      // further variables; they win over all others
  Json tools, documents;                // lists of objects; null: none
  std::optional<std::string> bos, eos;  // absent: the model's, and empty if it has none
  bool add_generation_prompt = true;    // the text ends where the assistant's words begin
};

// Variables from texts KEY=VALUE. A VALUE that is JSON (true, 3, [1, 2], "text", {...}) is taken as
// such, any other as a text. Throws bad input at `place` for a text without a key.
Json ParseChatVariables(std::span<const std::string> assignments, std::string_view place);

class ChatTemplate {
 public:
  // The text of all messages, and what stands before the assistant's next words.
  std::string Render(const std::vector<ChatMessage>& messages) const;
  // `messages` is a list of objects with at least a role. As transformers does, a key whose value
  // is null is left out, and reasoning is passed under both of its names.
  std::string RenderJson(const Json& messages) const;
  // The text up to the end of the last message's words, which the model continues; transformers'
  // continue_final_message. Throws bad input for a template that leaves the last message out.
  std::string RenderContinued(std::vector<ChatMessage> messages) const;
  // A name of NamedChatTemplates, "model" for the model's own, else the file's stem.
  const std::string& name() const { return name_; }
  // The files that it was read from; of a named one its text.
  const InputSet& inputs() const { return inputs_; }

 private:
  friend ChatTemplate FindChatTemplate(const std::string&, const std::filesystem::path&,
                                       const ChatOptions&);
  ChatTemplate(std::string name, std::string_view text, std::string_view place, Json variables,
               const ChatOptions& options, InputSet inputs);

  std::string RenderWith(Json variables, const Json& messages) const;

  std::string name_;
  Json variables_;  // all but the messages
  JinjaTemplate jinja_;
  InputSet inputs_;
};

struct NamedChatTemplate {
  const char* name;
  const char* summary;
  const char* text;
};
const std::vector<NamedChatTemplate>& NamedChatTemplates();

// A named one, a file of a template's own (a path), or for an empty name the model folder's: of
// chat_template.jinja and additional_chat_templates/*.jinja, else of chat_template in
// tokenizer_config.json, the one named tool_use if there are tools, else default. Throws bad input
// for unknown names, folders without a template, templates that are not understood, and options
// that are not of their form.
ChatTemplate FindChatTemplate(const std::string& name, const std::filesystem::path& model_folder,
                              const ChatOptions& options = {});

}  // namespace qualm
