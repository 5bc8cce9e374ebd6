// The part of qualm eval that asks tasks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chat/chat_settings.h"
#include "cli.h"
#include "model_flags.h"
#include "prompt_flags.h"

namespace qualm::cli {

struct TaskFlags {
  ModelFlags model;
  std::string reference, data, store;
  std::vector<std::string> reference_config;  // KEY=VALUE, of the reference
  std::vector<std::string> tasks;             // names, groups, files; also several behind commas
  PromptFlags prompt;
  uint64_t limit = 0, batch_tokens = 2048;
  bool run_code = false, skip_missing = false;
};

// Throws bad input if the file is not there: opening a store would make an empty one.
void RequireStore(const std::string& file);

// What a store knows a model by: a folder that is there is its whole path.
std::string StoredName(const std::string& model);

int EvaluateTasks(const TaskFlags& flags, const Globals& globals);

// Paired differences of tasks that two models have answered, for people and as JSON.
// `filter`: see CompareModels.
int PrintComparison(const std::string& store, const std::string& first, const std::string& second,
                    const std::string& filter, const Globals& globals);

}  // namespace qualm::cli
