// The flags of the commands that use a chat template (generate, chat, eval).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_template.h"
#include "cli.h"

namespace qualm::cli {

struct ChatFlags {
  std::string chat_template;         // empty: the model's own
  std::string date;                  // empty: the command's default
  std::vector<std::string> options;  // KEY=VALUE
};

// --chat-template, --date, --chat-option. `default_date` is what the help calls the default.
void AddChatFlags(Arguments& arguments, ChatFlags& flags, const std::string& default_date);

// Whether one of the flags was given.
bool AreSet(const ChatFlags& flags);

// Throws bad input for a date that is none and options without a key.
ChatOptions ChatOptionsOf(const ChatFlags& flags, std::string_view default_date);

// What a reader must know to render the same prompt: template, date, options.
Json ChatAsJson(const ChatTemplate& chat, const ChatOptions& options);
// "chat template model, date 2024-07-26, enable_thinking false"
std::string ChatText(const ChatTemplate& chat, const ChatOptions& options);

}  // namespace qualm::cli
