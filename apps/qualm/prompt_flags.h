// Flags that decide what tasks ask, apart from the task: of qualm eval and qualm prompts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "arguments.h"
#include "chat/chat_settings.h"
#include "chat/chat_template.h"
#include "tasks/items.h"
#include "tasks/prompt.h"

namespace qualm::cli {

struct PromptFlags {
  std::optional<std::string> shots, fewshot_seed;  // absent: the task's own
  std::string split, shot_split;                   // empty: the task's own
  bool chat = false;                               // the model's own template
  ChatSettings settings;                           // of the template; may name another one
  std::string system;
  bool multiturn = false;
};

// All but --chat, which needs a model.
void AddPromptFlags(Arguments& arguments, PromptFlags& flags);

// What is wrong with the flags together, for arguments.Check; empty: nothing.
std::string ComplaintAbout(const PromptFlags& flags);
ItemOptions ItemOptionsOf(const PromptFlags& flags);
// The template that the flags name, rendered with `options`, which are
// ChatOptionsOf(flags.settings) and what a command adds; `model_folder` may be empty where the
// flags do not ask for its own.
std::optional<ChatTemplate> FindPromptTemplate(const PromptFlags& flags,
                                               const std::filesystem::path& model_folder,
                                               const ChatOptions& options);
// `chat` must outlive the style.
PromptStyle StyleOf(const PromptFlags& flags, const std::optional<ChatTemplate>& chat);

}  // namespace qualm::cli
