// Turns the flags about chat templates into the options of a template, and shows what was used.
#include "chat_flags.h"

#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace qualm::cli {

void AddChatFlags(Arguments& arguments, ChatSettings& flags, const std::string& default_date) {
  arguments.Add("--chat-template", flags.chat_template,
                "Not the model's own: a name (qualm list chat-templates) or a Jinja file");
  arguments.Add(
      "--date", flags.date,
      StrCat("The day that the chat template is told, YYYY-MM-DD; default: ", default_date));
  arguments
      .Add(
          "--chat-option", flags.options,
          "A variable of the chat template, KEY=VALUE, such as enable_thinking=false; may be given "
          "several times")
      .OnePerFlag();
}

bool AreSet(const ChatSettings& flags) {
  return !flags.chat_template.empty() || !flags.date.empty() || !flags.options.empty();
}

ChatOptions ChatOptionsOfToday(const ChatSettings& flags) {
  ChatSettings settings = flags;
  if (settings.date.empty()) settings.date = TodayAsText();
  return ChatOptionsOf(settings, "--");
}

Json ChatAsJson(const ChatTemplate& chat, const ChatOptions& options) {
  return {{"template", chat.name()}, {"date", options.date}, {"options", options.variables}};
}

std::string ChatText(const ChatTemplate& chat, const ChatOptions& options) {
  std::string text = StrCat("chat template ", chat.name(), ", date ", options.date);
  for (const auto& [key, value] : options.variables.items()) {
    text += StrCat(", ", key, " ", value.dump());
  }
  return text;
}

}  // namespace qualm::cli
