// From the items of a task to requests: shots that fit, tokens, hashes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/request.h"
#include "generate/generation_request.h"
#include "tasks/items.h"

namespace qualm {

class ChatTemplate;

// What one continuation of an item became.
struct AskedRequest {
  LikelihoodRequest request;
  std::string hash;
  size_t shots = 0;         // in front of its context
  LikelihoodAnswer answer;  // later

  const std::string& PromptHash() const { return hash; }
};

// One text of an item of a generation task.
struct TextRequest {
  GenerationRequest request;
  std::string hash;
  size_t item = 0;
  size_t shots = 0;         // in front of its context
  GenerationAnswer answer;  // later

  std::string PromptHash() const { return request.PromptHash(); }
};

struct AskedItem {
  size_t first = 0, count = 0;                // among the requests
  std::optional<size_t> first_unconditional;  // as many, where the task asks for them
};

struct TaskRequests {
  std::vector<AskedRequest> requests;
  std::vector<AskedItem> items;  // by item
  uint64_t prompts_with_fewer_shots = 0, prompts_truncated = 0;
};

// Overlong prompts lose shots from the last one on, then tokens on the left, behind BOS (PROTOCOLS,
// section 8). Throws bad input for a continuation that is longer than the context.
// With a chat template the whole prompt is the user's message and the continuation, without blanks
// in front, the assistant's; throws bad input for a task without a context then.
TaskRequests MakeTaskRequests(const Task& task, const TaskItems& made, const Tokenizer& tokenizer,
                              size_t context, const ChatTemplate* chat);

// The prompt of an item as one text: `shots` shots and its context for a choice.
std::string PromptText(const TaskItem& item, size_t shots, size_t choice, const ChatTemplate* chat);

}  // namespace qualm
