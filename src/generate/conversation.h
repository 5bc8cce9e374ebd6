// A conversation with a model: what was said so far, and the next answer. Where it gets longer than
// the context, the model no longer sees its oldest turns.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "generate/text_writer.h"

namespace qualm {

class Progress;

// A user's message with the answer to it.
struct ChatAnswer {
  WrittenText written;
  std::string content;  // its text as the conversation keeps it: without blanks in front
  size_t prompt_tokens = 0;
  size_t turns_left_out = 0;  // from the beginning; the model did not see them
};

class Conversation {
 public:
  // `messages` is what was said before, perhaps a system message only. The template, the tokenizer,
  // the writer and the progress must outlive the conversation.
  Conversation(const ChatTemplate& chat, const Tokenizer& tokenizer, TextWriter& writer,
               std::vector<ChatMessage> messages, Progress& progress);

  // Adds the user's message and the model's answer, which is kept also if it was interrupted. Says
  // through the progress how many turns had to be left out. Throws bad input, and forgets the
  // message, if it is too long by itself or the template refuses it.
  ChatAnswer Say(const std::string& message, const GenerateOptions& options,
                 std::span<const std::string> stop, const TextWatch& watch);

  // Begins anew, with the system message if there is one.
  void Reset();

  // All messages, also those that the model no longer sees.
  const std::vector<ChatMessage>& messages() const { return messages_; }

 private:
  // What the model sees of the messages: those before the first turn, and those from `first` on.
  struct Seen {
    size_t first = 0;
    size_t turns_left_out = 0;
  };

  std::vector<TokenId> Prompt(const std::vector<ChatMessage>& messages, const Seen& seen) const;
  std::vector<TokenId> FittingPrompt(const std::vector<ChatMessage>& messages, size_t max_tokens,
                                     Seen& seen) const;

  const ChatTemplate& chat_;
  const Tokenizer& tokenizer_;
  TextWriter& writer_;
  Progress& progress_;
  std::vector<ChatMessage> messages_;
  size_t system_ = 0;  // messages before the first turn
  Seen seen_;
};

// Messages as files hold them: a list of {"role": ..., "content": ...}.
Json ToJson(const std::vector<ChatMessage>& messages);
// Throws bad input at `place` for anything else.
std::vector<ChatMessage> ChatMessagesFromJson(const Json& json, std::string_view place);

}  // namespace qualm
