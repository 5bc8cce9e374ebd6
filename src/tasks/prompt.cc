// Puts system text, header, examples and context together: as one text, as one message of the user,
// or as turns of a conversation.
#include "tasks/prompt.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "tokenize/blanks.h"

namespace qualm {
namespace {

std::string OpeningOf(const TaskItem& item, const PromptStyle& style) {
  const Shots& shots = *item.shots;
  return JoinWithDelimiter(style.system, shots.header, shots.separator);
}

// The messages before the item's own, and the text that its message begins with.
struct Opening {
  std::vector<ChatMessage> messages;
  std::string text;
};

Opening ChatOpening(const TaskItem& item, size_t count, const PromptStyle& style) {
  const Shots& shots = *item.shots;
  Opening opening;
  const std::string system = shots.header_is_system ? OpeningOf(item, style) : style.system;
  if (!system.empty()) opening.messages.push_back({"system", system});
  if (!shots.header_is_system) opening.text = shots.header;

  if (!style.shots_as_turns) {
    for (size_t i = 0; i < count; ++i) opening.text += shots.texts[i];
    return opening;
  }
  for (size_t i = 0; i < count; ++i) {
    for (ChatMessage message : shots.turns[i]) {
      // A header that is not a system's message opens the first of the user's.
      if (message.role == "user")
        message.content = std::exchange(opening.text, "") + message.content;
      opening.messages.push_back(std::move(message));
    }
  }
  return opening;
}

}  // namespace

std::string JoinWithDelimiter(const std::string& first, const std::string& second,
                              const std::string& delimiter) {
  if (first.empty() || second.empty()) return first + second;
  return EndsInBlank(first) || BeginsWithBlank(second) ? first + second
                                                       : first + delimiter + second;
}

std::string PromptStyle::Variant() const {
  std::string variant = chat == nullptr ? "" : ChatVariant(*chat, chat_settings);
  if (!system.empty()) variant += StrCat("+system-", HashBytes(system).substr(0, 8));
  if (shots_as_turns) variant += "+turns";
  return variant;
}

std::string PromptText(const TaskItem& item, size_t shots, size_t choice,
                       const PromptStyle& style) {
  if (style.chat == nullptr) {
    std::string text = OpeningOf(item, style);
    for (size_t i = 0; i < shots; ++i) text += item.shots->texts[i];
    return text + item.ContextOf(choice);
  }

  // The item's own message is what is left of the prompt, apart from the answer's beginning.
  Opening opening = ChatOpening(item, shots, style);
  const std::string& context = item.contexts[item.contexts.size() == 1 ? 0 : choice];
  const std::string text = opening.text + context;
  if (Trim(text).empty()) {
    ThrowBadInput(item.place, "a context that can be the user's message", "none",
                  "this task is asked without a chat template");
  }
  opening.messages.push_back({"user", text});
  if (item.answer_prefix.empty()) return style.chat->Render(opening.messages);
  opening.messages.push_back({"assistant", item.answer_prefix});
  return style.chat->RenderContinued(opening.messages);
}

// A chat template ends where the answer begins: the answer has no blank in front of it.
std::string ContinuationText(const TaskItem& item, size_t choice, const PromptStyle& style) {
  if (style.chat == nullptr) return item.continuations[choice];
  if (!item.chat_continuations.empty()) return item.chat_continuations[choice];
  const std::string& text = item.continuations[choice];
  return text.substr(std::min(text.find_first_not_of(" \t"), text.size()));
}

}  // namespace qualm
