// Groups a task's items into parts with separate scores, and writes evaluations, prompts and items
// to the result store.
#include "evaluate/task_parts.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"
#include "evaluate/task_requests.h"
#include "io/hash.h"
#include "model/model.h"
#include "results/store.h"

namespace qualm {

std::vector<TaskPart> PartsOf(const Task& task, const TaskItems& made) {
  // Items of a subset follow each other, so a new name begins a new subset.
  std::vector<TaskPart> parts(1);
  std::vector<TaskPart> subsets;
  for (size_t i = 0; i < made.items.size(); ++i) {
    parts[0].items.push_back(i);
    const std::string& subset = made.items[i].subset;
    if (subset.empty()) continue;
    if (subsets.empty() || subsets.back().name != subset) subsets.push_back({subset, {}});
    subsets.back().items.push_back(i);
  }

  // A category is the union of its subsets.
  for (const auto& [name, members] : task.categories) {
    TaskPart category{StrCat("category ", name), {}};
    for (const TaskPart& subset : subsets) {
      if (std::ranges::find(members, subset.name) == members.end()) continue;
      category.items.insert(category.items.end(), subset.items.begin(), subset.items.end());
    }
    if (!category.items.empty()) parts.push_back(std::move(category));
  }

  for (TaskPart& subset : subsets) {
    parts.push_back({StrCat("subset ", subset.name), std::move(subset.items)});
  }
  return parts;
}

TaskScore NewScore(const Task& task, const TaskItems& made, const TaskPart& part,
                   const std::string& metric) {
  TaskScore score;
  score.task = task.name + task.variant;
  score.version = task.version;
  score.shots = made.shots;
  score.part = part.name;
  score.metric = metric;
  score.n = part.items.size();
  score.baseline = std::numeric_limits<double>::quiet_NaN();
  score.is_partial = made.is_partial;
  return score;
}

std::string HeadOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  return IdsAndPieces(tokenizer, tokens.first(std::min(kShownTokens, tokens.size())));
}

std::string TailOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  return IdsAndPieces(tokenizer, tokens.last(std::min(kShownTokens, tokens.size())));
}

int64_t PutEvaluationOf(const Task& task, const TaskItems& made, const Model& model,
                        const std::string& model_hash, const TaskRunOptions& options,
                        std::span<const std::string> hashes) {
  // One hash over all requests identifies what was asked.
  Hasher hasher;
  for (const std::string& hash : hashes) hasher.Add(hash);
  options.store->PutModel(model_hash, StoredPath(model.folder));
  return options.store->PutEvaluation({model_hash, task.name + task.variant, task.version,
                                       made.shots, options.items.fewshot_seed,
                                       made.is_partial ? options.items.limit : 0, hasher.Hex()});
}

// A conversation is one text; otherwise the shots, which many items share, are kept apart.
void SetStoredPrompt(const TaskItem& item, size_t shots, size_t choice, const ChatTemplate* chat,
                     StoredRequest& request) {
  if (chat != nullptr) {
    request.context = PromptText(item, shots, choice, chat);
    return;
  }
  request.prompt = item.shots->Prompt(shots);
  request.context = item.ContextOf(choice);
}

void StoreItems(ResultStore& store, int64_t evaluation, const TaskItems& made,
                const std::function<StoredItem(size_t item)>& make) {
  // One transaction: an evaluation is finished with all of its items or not at all.
  store.Begin();
  for (size_t i = 0; i < made.items.size(); ++i) {
    StoredItem item = make(i);
    item.item = i;
    item.subset = made.items[i].subset;
    item.row = made.items[i].row;
    store.PutItem(evaluation, item);
  }
  store.FinishEvaluation(evaluation);
  store.Commit();
}

}  // namespace qualm
