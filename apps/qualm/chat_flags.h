// The flags of the commands that use a chat template (generate, chat, eval, prompts,
// chat-template).
#pragma once

#include <string>

#include "chat/chat_settings.h"
#include "cli.h"

namespace qualm::cli {

// --chat-template, --date, --chat-option. `default_date` is what the help calls the default.
void AddChatFlags(Arguments& arguments, ChatSettings& flags, const std::string& default_date);

// The last two, for a command that names the template otherwise.
void AddChatVariableFlags(Arguments& arguments, ChatSettings& flags,
                          const std::string& default_date);

// Whether one of the flags was given.
bool AreSet(const ChatSettings& flags);

// The options of a conversation that is held now: without --date the day is today.
ChatOptions ChatOptionsOfToday(const ChatSettings& flags);

// The messages of the file --messages with those of --system in front, each of which may be empty.
// Throws bad input where both have a message of the system.
std::vector<ChatMessage> OpeningMessages(const std::string& system, const std::string& file);

// What a reader must know to render the same prompt: template, date, options.
Json ChatAsJson(const ChatTemplate& chat, const ChatOptions& options);
// "chat template model, date 2024-07-26, enable_thinking false"
std::string ChatText(const ChatTemplate& chat, const ChatOptions& options);

}  // namespace qualm::cli
