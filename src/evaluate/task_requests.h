// From the items of a task to requests: shots that fit, tokens, hashes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluate/request.h"
#include "generate/generation_request.h"
#include "tasks/items.h"
#include "tasks/prompt.h"

namespace qualm {

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

// The requests of an item: one for each continuation, or, of a text that is scored by itself, one
// for each window of it.
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
// Throws bad input for a task without a context where the style has a chat template.
TaskRequests MakeTaskRequests(const Task& task, const TaskItems& made, const Tokenizer& tokenizer,
                              size_t context, const PromptStyle& style);

// The windows in which a text is scored by itself (lm-evaluation-harness's loglikelihood_rolling):
// every token is scored once; the first window begins after BOS or EOS, a later one has only the
// token before it as context, and the last one as many tokens as `context` allows. Throws bad input
// for a text without tokens.
std::vector<LikelihoodRequest> RollingRequests(const Tokenizer& tokenizer, std::string_view text,
                                               size_t context);

}  // namespace qualm
