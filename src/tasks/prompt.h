// From the parts of an item to the text that a model is given.
#pragma once

#include <string>

#include "chat/chat_settings.h"
#include "chat/chat_template.h"
#include "tasks/items.h"

namespace qualm {

// How prompts are put, beyond what the task says.
struct PromptStyle {
  const ChatTemplate* chat = nullptr;  // null: prompts are plain texts
  std::string system;                  // a text in front of all, the system's message; may be empty
  bool shots_as_turns = false;         // with a chat template: each example as separate messages
  ChatSettings chat_settings;          // what it was found and is rendered with

  // What distinguishes results in this style from plain ones: "@chatml,date=2025-01-01+turns";
  // empty: nothing.
  std::string Variant() const;

  // The style that the task's prompts have: a text that is scored by itself has none, as in the
  // harness, so that its results have the task's plain name.
  PromptStyle For(const Task& task) const { return IsRolling(task) ? PromptStyle() : *this; }
};

// The prompt of an item before a choice's continuation, with the first `shots` examples. Throws bad
// input where the user's message would be empty, and what a chat template throws.
std::string PromptText(const TaskItem& item, size_t shots, size_t choice, const PromptStyle& style);

// The continuation of a choice in that style.
std::string ContinuationText(const TaskItem& item, size_t choice, const PromptStyle& style);

// Both joined with `delimiter`, unless one is empty or a blank is already between them.
std::string JoinWithDelimiter(const std::string& first, const std::string& second,
                              const std::string& delimiter);

}  // namespace qualm
