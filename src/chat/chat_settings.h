// How something is asked in the form of a chat template, as users state it by flags and in studies:
// which template, on which day, with which further variables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_template.h"

namespace qualm {

// The day for evaluations, so that their prompts are the same on every day. It is the one that
// Llama 3.1's template takes when it is not told any.
inline constexpr std::string_view kFixedChatDate = "2024-07-26";

struct ChatSettings {
  std::string chat_template;         // a name or a file; empty: the model's own
  std::string date;                  // YYYY-MM-DD; empty: kFixedChatDate
  std::vector<std::string> options;  // KEY=VALUE, see ParseChatVariables

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("chat_template", self.chat_template);
    visit("date", self.date);
    visit("options", self.options);
  }
};

// Throws bad input at "PLACEdate" and "PLACEoption" for a day that is none and an option without a
// key; "--" and "chat_" are such places.
ChatOptions ChatOptionsOf(const ChatSettings& settings, std::string_view place);

// What is added to the name of a task that is asked in this way: "@chatml", with the options and
// the day added where they are not the usual ones ("@model,enable_thinking=false").
std::string ChatVariant(const ChatTemplate& chat, const ChatSettings& settings);

// Today by this machine's clock, YYYY-MM-DD.
std::string TodayAsText();

// Throws bad input at `place` unless `date` is a day of the calendar as YYYY-MM-DD.
void CheckDate(std::string_view date, std::string_view place);

}  // namespace qualm
