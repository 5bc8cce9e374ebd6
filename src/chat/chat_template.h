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

// Where a user wrote the parts of a conversation's settings, for messages about them: by default
// the flags of the command line.
struct ChatPlaces {
  std::string chat_template = "--chat-template", date = "--date", options = "--chat-option";
  std::string messages = "messages", tools = "tools", documents = "documents";
};

// What a template is rendered with, apart from the messages.
struct ChatOptions {
  std::string date;                     // YYYY-MM-DD, for strftime_now; empty: today
  Json variables = Json::object();      // further variables; they win over the model's tokens
  Json tools, documents;                // lists of objects; null: none
  std::optional<std::string> bos, eos;  // absent: the model's, and empty if it has none
  bool add_generation_prompt = true;    // the text ends where the assistant's words begin
  ChatPlaces places;
};

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
  // What tells it from other templates in names of results: its name, of a file with the beginning
  // of the content's hash ("mine-1b2f09c3"), because files of one name may differ.
  const std::string& label() const { return label_; }
  // The template itself, as it was found.
  const std::string& text() const { return text_; }
  // The files that it was read from; of a named one its text.
  const InputSet& inputs() const { return inputs_; }

 private:
  friend ChatTemplate FindChatTemplate(const std::string&, const std::filesystem::path&,
                                       const ChatOptions&);
  // What was found under a name, in a file or in a model's folder.
  struct Source {
    std::string name, label;
    std::string text;
    std::string place;  // of the text, for messages
    InputSet inputs;
  };
  ChatTemplate(Source source, Json variables, const ChatOptions& options);

  std::string RenderWith(Json variables, const Json& messages) const;

  std::string name_, label_, text_;
  std::string messages_place_;
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

// Whether a name of a template is a file's: it has a '/' or ends in ".jinja".
bool IsTemplateFile(std::string_view name);

// A named one, a file of a template's own (IsTemplateFile), or for an empty name the model
// folder's: of chat_template.jinja and additional_chat_templates/*.jinja, else of chat_template in
// tokenizer_config.json, the one named tool_use if there are tools, else default. Throws bad input
// for unknown names, folders without a template, templates that are not understood, and options
// that are not of their form.
ChatTemplate FindChatTemplate(const std::string& name, const std::filesystem::path& model_folder,
                              const ChatOptions& options = {});

}  // namespace qualm
