// Shared by the runs of all kinds of tasks: selections of items that get separate scores, and how
// items are stored.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "evaluate/task_run.h"

namespace qualm {

struct StoredItem;
struct StoredRequest;

// Items that get a separate score, by their index in the task.
struct TaskPart {
  std::string name;  // empty: all items; "category humanities", "subset anatomy"
  std::vector<size_t> items;
};

// All items first, then the categories, then the subsets; parts without items are left out.
std::vector<TaskPart> PartsOf(const Task& task, const TaskItems& made);

// A score whose value and baseline are not set yet.
TaskScore NewScore(const Task& task, const TaskItems& made, const TaskPart& part,
                   const std::string& metric);

constexpr size_t kShownTokens = 8;  // at both ends
std::string HeadOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens);
std::string TailOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens);

// Stores the evaluation and returns its id; call between Begin and Commit. `hashes` are those of
// all requests in order.
int64_t PutEvaluationOf(const Task& task, const TaskItems& made, const Model& model,
                        const std::string& model_hash, const TaskRunOptions& options,
                        std::span<const std::string> hashes);
// Stores the text of the prompt: the shots that many items share, and the item's context; in a
// conversation both are one text.
void SetStoredPrompt(const TaskItem& item, size_t shots, size_t choice, const ChatTemplate* chat,
                     StoredRequest& request);
// Stores make(i) for every item and marks the evaluation as finished.
void StoreItems(ResultStore& store, int64_t evaluation, const TaskItems& made,
                const std::function<StoredItem(size_t item)>& make);

}  // namespace qualm
