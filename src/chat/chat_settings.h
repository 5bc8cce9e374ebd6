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
  std::vector<std::string> options;  // KEY=VALUE, see ChatOptionsOf

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("chat_template", self.chat_template);
    visit("date", self.date);
    visit("options", self.options);
  }
};

// Where a study's file has settings: the keys, with `place` in front if it is not empty.
ChatPlaces ChatKeys(std::string_view place = "");

// A VALUE that is JSON (true, 3, [1, 2], "text", {...}) is taken as such, any other as a text; of
// two values for one key the last one holds. tools, documents and add_generation_prompt are, as for
// transformers' apply_chat_template, not mere variables but the options of those names. Throws bad
// input at its place for a day that is none, and for an option without a key, of a wrong type, with
// an integer of more than 64 bits, or of the name of another parameter.
ChatOptions ChatOptionsOf(const ChatSettings& settings, ChatPlaces places = {});

// All that options set and that is not as usual: the variables, tools, documents, and a false
// add_generation_prompt.
Json SetOptions(const ChatOptions& options);

// What is added to the name of a task that is asked in this way: "@chatml", with the options and
// the day added where they are not the usual ones ("@model,enable_thinking=false"). The options are
// sorted, and written as JSON where a plain text could be read in two ways, so that settings have
// one variant if and only if templates see the same.
std::string ChatVariant(const ChatTemplate& chat, const ChatSettings& settings);

// `text` if it is made of characters that separate nothing in names of results, else as a JSON
// string.
std::string PlainOrQuoted(std::string_view text);

// Today by this machine's clock, YYYY-MM-DD.
std::string TodayAsText();

// Throws bad input at `place` unless `date` is a day of the calendar as YYYY-MM-DD.
void CheckDate(std::string_view date, std::string_view place);

}  // namespace qualm
