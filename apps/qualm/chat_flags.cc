// Turns the flags about chat templates into the options of a template, and shows what was used.
#include "chat_flags.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "chat/chat_json.h"
#include "generate/conversation.h"

namespace qualm::cli {

void AddChatFlags(Arguments& arguments, ChatSettings& flags, const std::string& default_date) {
  arguments
      .Add("--chat-template", flags.chat_template,
           "Not the model's own: a name (qualm list chat-templates) or a Jinja file")
      .NotEmpty("a name or a file");
  AddChatVariableFlags(arguments, flags, default_date);
}

void AddChatVariableFlags(Arguments& arguments, ChatSettings& flags,
                          const std::string& default_date) {
  arguments
      .Add("--date", flags.date,
           StrCat("The day that the chat template is told, YYYY-MM-DD; default: ", default_date))
      .Checked([](const std::string& text) { CheckDate(text, ChatPlaces().date); });
  arguments
      .Add(
          "--chat-option", flags.options,
          "A variable of the chat template, KEY=VALUE, such as enable_thinking=false; a VALUE that "
          "is JSON is taken as such; may be given several times")
      .OnePerFlag()
      .Checked([](const std::string& text) {
        (void)ChatOptionsOf({"", "", {text}});
      });
}

bool AreSet(const ChatSettings& flags) {
  return !flags.chat_template.empty() || !flags.date.empty() || !flags.options.empty();
}

ChatOptions ChatOptionsOfToday(const ChatSettings& flags) {
  ChatSettings settings = flags;
  if (settings.date.empty()) settings.date = TodayAsText();
  return ChatOptionsOf(settings);
}

std::vector<ChatMessage> OpeningMessages(const std::string& system, const std::string& file) {
  std::vector<ChatMessage> messages;
  if (!file.empty()) messages = ChatMessagesFromJson(ReadChatJson(file), file);
  if (system.empty()) return messages;

  for (const ChatMessage& message : messages) {
    if (message.role != "system") continue;
    ThrowBadInput("--system", StrCat("no message of the system in ", file),
                  StrCat("'", message.content.substr(0, 60), "'"),
                  "leave one of the two out: which one holds cannot be known");
  }
  messages.insert(messages.begin(), {"system", system});
  return messages;
}

Json ChatAsJson(const ChatTemplate& chat, const ChatOptions& options) {
  return {{"template", chat.name()}, {"date", options.date}, {"options", SetOptions(options)}};
}

std::string ChatText(const ChatTemplate& chat, const ChatOptions& options) {
  std::string text = StrCat("chat template ", chat.name(), ", date ", options.date);
  const Json shown = SetOptions(options);
  for (const auto& [key, value] : shown.items()) {
    text += StrCat(", ", key, " ", value.dump());
  }
  return text;
}

}  // namespace qualm::cli
