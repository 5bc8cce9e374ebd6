// What the runs of all kinds of tasks share: selections of items that get scores of their own, and
// how items are kept.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "evaluate/task_run.h"

namespace qualm {

struct StoredItem;
struct StoredRequest;

struct TaskPart {
  std::string name;  // empty: all items; "category humanities", "subset anatomy"
  std::vector<size_t> items;
};

// All, then the categories, then the subsets; those without items are left out.
std::vector<TaskPart> PartsOf(const Task& task, const TaskItems& made);

// Without a value; no baseline.
TaskScore NewScore(const Task& task, const TaskItems& made, const TaskPart& part,
                   const std::string& metric);

constexpr size_t kShownTokens = 8;  // at both ends
std::string HeadOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens);
std::string TailOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens);

// The evaluation's id; call between Begin and Commit. `hashes` are those of all requests in order.
int64_t PutEvaluationOf(const Task& task, const TaskItems& made, const Model& model,
                        const std::string& model_hash, const TaskRunOptions& options,
                        std::span<const std::string> hashes);
// The text that was asked: what many items share and their own; in a conversation all is one.
void SetStoredPrompt(const TaskItem& item, size_t shots, size_t choice, const ChatTemplate* chat,
                     StoredRequest& request);
// Stores make(i) for every item and says that the evaluation is finished.
void StoreItems(ResultStore& store, int64_t evaluation, const TaskItems& made,
                const std::function<StoredItem(size_t item)>& make);

}  // namespace qualm
