// The steps that tasks of all kinds share: items, requests, answers, scores. The store is only a
// cache of answers and a record for people; every number of the outcome comes from memory.
#include "evaluate/task_runner.h"

#include "base/strings.h"
#include "data/row_sets.h"
#include "evaluate/task_requests.h"

namespace qualm {
namespace {

constexpr size_t kShownTokens = 8;  // at both ends of a request

std::string HeadOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  return IdsAndPieces(tokenizer, tokens.first(std::min(kShownTokens, tokens.size())));
}

std::string TailOf(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  return IdsAndPieces(tokenizer, tokens.last(std::min(kShownTokens, tokens.size())));
}

}  // namespace

TaskRunner::TaskRunner(const Task& task, const Model& model, const std::string& model_hash,
                       const TaskRunOptions& options, const Context& context)
    : task_(task),
      model_(model),
      tokenizer_(model.RequireTokenizer()),
      model_hash_(model_hash),
      options_(options),
      style_(options.style.For(task)),
      context_(context) {}

// The order matters: options are checked before any data is read, and the evaluation is named by
// its requests before the first answer is stored.
TaskOutcome TaskRunner::Run() {
  CheckOptions();
  outcome_.asked = MakeItems(task_, options_.items, options_.data_folder);
  SetNote();

  Ask();
  if (options_.on_inputs) options_.on_inputs(outcome_.asked.inputs);
  if (options_.store != nullptr) OpenEvaluation(*options_.store);
  Answer();

  Score();
  if (options_.store != nullptr) KeepItems(*options_.store);
  return std::move(outcome_);
}

// What a reader must know about the rows and the prompts, beyond the task's text.
void TaskRunner::SetNote() {
  std::vector<std::string> notes;
  const RowSet& set = FindRowSet(task_.data_set, task_.name);
  if (!set.note.empty()) notes.push_back(set.note);

  if (outcome_.asked.own_examples > 0) {
    notes.push_back(StrCat(outcome_.asked.own_examples, " of ", outcome_.asked.items.size(),
                           " rows are among their own examples; fewshot_split names other rows"));
  }
  const bool has_style = !options_.style.Variant().empty();
  const size_t shots = options_.items.shots.value_or(task_.default_shots);
  if (IsRolling(task_) && (has_style || shots > 0)) {
    notes.emplace_back(
        "texts are scored by themselves: examples, chat template and system text do not apply");
  }
  outcome_.note = Join(notes, "; ");
}

// What makes two evaluations the same. A limit or a part of a split that left nothing out does not
// count.
void TaskRunner::SetKey(std::string prompt_hash, std::span<const TokenId> first_tokens) {
  TaskItems& asked = outcome_.asked;
  outcome_.key = {.model = model_hash_,
                  .task = task_.name + task_.variant,
                  .version = task_.version,
                  .shots = asked.shots,
                  .fewshot_seed = asked.fewshot_seed,
                  .limit = asked.is_partial ? asked.items.size() : 0,
                  .prompt_hash = std::move(prompt_hash),
                  .files = asked.inputs.Hash()};
  outcome_.first_request =
      HeadOf(tokenizer_, first_tokens) + " ... " + TailOf(tokenizer_, first_tokens);
}

// Registers the evaluation and stores its prompts, so that people can look at them while it runs.
void TaskRunner::OpenEvaluation(ResultStore& store) {
  store.Begin();
  store.PutModel(model_hash_, StoredPath(model_.folder));
  outcome_.evaluation = store.PutEvaluation(outcome_.key);
  KeepRequests(store);
  store.Commit();
}

void TaskRunner::KeepRequest(const TaskItem& item, size_t shots, size_t choice,
                             std::span<const TokenId> tokens, StoredRequest& stored,
                             ResultStore& store) {
  // The shots, which many items share, are stored once. A chat template makes one text of all.
  if (style_.chat != nullptr || !style_.system.empty()) {
    stored.context = PromptText(item, shots, choice, style_);
  } else {
    stored.prompt = item.shots->Prompt(shots);
    stored.context = item.ContextOf(choice);
  }

  // The ends of the sequence show whether BOS and spaces are where they should be.
  stored.tokens = tokens.size();
  stored.head = HeadOf(tokenizer_, tokens);
  stored.tail = TailOf(tokenizer_, tokens);
  store.PutRequest(*outcome_.evaluation, stored);
}

// One transaction, which also marks the evaluation as finished: a store has all items or none.
void TaskRunner::KeepItems(ResultStore& store) const {
  store.Begin();
  for (size_t i = 0; i < outcome_.items.size(); ++i) {
    const ItemOutcome& item = outcome_.items[i];
    const TaskItem& asked = outcome_.asked.items[i];
    // What a person needs to find the row and judge the answer.
    store.PutItem(*outcome_.evaluation, {.item = i,
                                         .subset = asked.subset,
                                         .row = asked.row,
                                         .gold = item.gold,
                                         .picked = item.picked,
                                         .is_correct = item.is_right,
                                         .is_near_tie = item.is_near_tie,
                                         .value = item.value,
                                         .prediction = item.prediction});
    for (size_t f = 0; f < item.further.size(); ++f) {
      const FilteredOutcome& filtered = item.further[f];
      store.PutReading(*outcome_.evaluation,
                       {i, f, filtered.filter, filtered.prediction, filtered.value});
    }
  }

  store.FinishEvaluation(*outcome_.evaluation);
  store.Commit();
}

// Answers are found by model, request and version of the protocol that made them.
bool TaskRunner::FindAnswer(const std::string& request, LikelihoodAnswer& answer) const {
  if (options_.store == nullptr) return false;
  const std::optional<StoredAnswer> found =
      options_.store->FindAnswer(model_hash_, request, kLikelihoodProtocol);
  if (found) answer = {found->log_likelihood, found->is_greedy};
  return found.has_value();
}

bool TaskRunner::FindAnswer(const std::string& request, GenerationAnswer& answer) const {
  if (options_.store == nullptr) return false;
  std::optional<StoredText> found =
      options_.store->FindText(model_hash_, request, kGenerationProtocol);
  if (found) {
    answer = {std::move(found->text), found->tokens, FinishReasonFromName(found->reason)};
  }
  return found.has_value();
}

void TaskRunner::PutAnswer(const std::string& request, const LikelihoodAnswer& answer) const {
  options_.store->PutAnswer(model_hash_, request, kLikelihoodProtocol,
                            {answer.log_likelihood, answer.is_greedy});
}

void TaskRunner::PutAnswer(const std::string& request, const GenerationAnswer& answer) const {
  options_.store->PutText(
      model_hash_, request, kGenerationProtocol,
      {answer.text, answer.tokens, std::string(FinishReasonName(answer.reason))});
}

}  // namespace qualm
