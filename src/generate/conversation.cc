// Each answer is written after a prompt that the chat template makes of the whole conversation. The
// writer's cache holds most of it from the turn before.
#include "generate/conversation.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "generate/generation_request.h"
#include "io/json.h"

namespace qualm {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

bool IsUser(const ChatMessage& message) { return message.role == "user"; }

}  // namespace

Conversation::Conversation(const ChatTemplate& chat, const Tokenizer& tokenizer, TextWriter& writer,
                           std::vector<ChatMessage> messages, Progress& progress)
    : chat_(chat),
      tokenizer_(tokenizer),
      writer_(writer),
      progress_(progress),
      messages_(std::move(messages)) {
  const auto is_system = [](const ChatMessage& message) { return message.role == "system"; };
  system_ = static_cast<size_t>(std::ranges::find_if_not(messages_, is_system) - messages_.begin());
  seen_.first = system_;
}

void Conversation::Reset() {
  messages_.resize(system_);
  seen_ = {system_, 0};
}

// The template's text of what the model sees of `messages`.
std::vector<TokenId> Conversation::Prompt(const std::vector<ChatMessage>& messages,
                                          const Seen& seen) const {
  const auto at = [&](size_t i) { return messages.begin() + static_cast<std::ptrdiff_t>(i); };
  std::vector<ChatMessage> shown(messages.begin(), at(system_));
  shown.insert(shown.end(), at(seen.first), messages.end());
  return EncodeGenerationPrompt(tokenizer_, chat_.Render(shown));
}

// A prompt that leaves room for an answer of max_tokens, or of half the capacity; if the last
// message is longer, then at least for one token.
std::vector<TokenId> Conversation::FittingPrompt(const std::vector<ChatMessage>& messages,
                                                 size_t max_tokens, Seen& seen) const {
  const size_t capacity = writer_.capacity();
  const size_t wanted = std::min(max_tokens, capacity / 2);
  std::vector<TokenId> prompt = Prompt(messages, seen);

  // Turns are left out from the beginning, each up to the next message of the user.
  while (prompt.size() + wanted > capacity) {
    const auto after_first = messages.begin() + static_cast<std::ptrdiff_t>(seen.first) + 1;
    const auto next = std::find_if(after_first, messages.end(), IsUser);
    if (next == messages.end()) break;
    seen.first = static_cast<size_t>(next - messages.begin());
    ++seen.turns_left_out;
    prompt = Prompt(messages, seen);
  }

  if (prompt.size() < capacity) return prompt;
  ThrowBadInput("message", StrCat("fewer than ", capacity, " tokens with those of the template"),
                StrCat(prompt.size()), "it does not fit into the context");
}

ChatAnswer Conversation::Say(const std::string& message, const GenerateOptions& options,
                             std::span<const std::string> stop, const TextWatch& watch) {
  // Nothing is kept of a message that is refused.
  std::vector<ChatMessage> messages = messages_;
  messages.push_back({"user", message});
  Seen seen = seen_;
  const std::vector<TokenId> prompt = FittingPrompt(messages, options.max_tokens, seen);
  if (seen.turns_left_out > seen_.turns_left_out) {
    progress_.Warn(StrCat("the conversation is longer than the context of ", writer_.capacity(),
                          " tokens: the model no longer sees its first ", seen.turns_left_out,
                          seen.turns_left_out == 1 ? " turn" : " turns"));
  }

  ChatAnswer answer;
  answer.prompt_tokens = prompt.size();
  answer.turns_left_out = seen.turns_left_out;
  answer.written = writer_.Write(prompt, options, stop, watch);
  const std::string& text = answer.written.text;
  answer.content = text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));

  messages.push_back({"assistant", answer.content});
  messages_ = std::move(messages);
  seen_ = seen;
  return answer;
}

Json ToJson(const std::vector<ChatMessage>& messages) {
  Json list = Json::array();
  for (const ChatMessage& message : messages) {
    list.push_back({{"role", message.role}, {"content", message.content}});
  }
  return list;
}

std::vector<ChatMessage> ChatMessagesFromJson(const Json& json, std::string_view place) {
  if (!json.is_array()) ThrowBadInput(place, "a list of messages", json.type_name());
  std::vector<ChatMessage> messages;
  for (const Json& one : json) {
    const std::string here = StrCat(place, "[", messages.size(), "]");
    RequireObject(one, {"role", "content"}, here);
    messages.push_back({GetString(one, "role", here), GetString(one, "content", here)});
  }
  return messages;
}

}  // namespace qualm
