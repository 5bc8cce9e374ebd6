// What runs of all kinds of tasks do alike: items are made, requests are named and kept in the
// store, answers come from the store or the model, outcomes of items are kept.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/context.h"
#include "evaluate/task_parts.h"
#include "evaluate/task_run.h"
#include "io/hash.h"
#include "model/model.h"

namespace qualm {

// Runs one task once. A kind of task is a class that inherits from this one and says what is asked,
// how the model answers and what the answers are worth. Run() calls the steps in the order in which
// they are declared. All arguments of the constructor must outlive the runner.
class TaskRunner {
 public:
  TaskRunner(const Task& task, const Model& model, const std::string& model_hash,
             const TaskRunOptions& options, const Context& context);
  virtual ~TaskRunner() = default;
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;

  TaskOutcome Run();

 protected:
  // Before any work: throws bad input for what would fail later.
  virtual void CheckOptions() {}
  // Fills the outcome's requests from its items, and calls NameEvaluation with them.
  virtual void Ask() = 0;
  // Every request as the store keeps it; each goes to KeepRequest.
  virtual void KeepRequests(ResultStore& store) = 0;
  virtual void Answer() = 0;
  // Fills the outcome's `items` and `scores` from the answers.
  virtual void Score() = 0;

  // The key of the evaluation: a hash over all requests names the prompts. What ends the texts of a
  // model is not part of it, so that models with the same prompts can be compared.
  template <class Asked>
  void NameEvaluation(std::span<const Asked> requests) {
    Hasher hasher;
    for (const Asked& asked : requests) hasher.Add(asked.PromptHash());
    SetKey(hasher.Hex(), requests[0].request.tokens);
  }

  // `shots` and `choice` say which prompt of the item it is. Fills what all kinds of tasks keep.
  void KeepRequest(const TaskItem& item, size_t shots, size_t choice,
                   std::span<const TokenId> tokens, StoredRequest& stored, ResultStore& store);

  // Gives each request its answer: the one in the store, else the model's. `compute` is called with
  // the requests that are left, a sink of answers and a sink that ends a forward pass, and returns
  // its counts. What a pass answered is kept before the next one begins; the store is locked for as
  // long as writing takes, not for a forward pass.
  template <class Asked, class Compute>
  auto AnswerAll(std::vector<Asked>& requests, const Compute& compute) {
    using Request = decltype(Asked::request);
    using Answer = decltype(Asked::answer);
    std::vector<Request> open;
    std::vector<size_t> index;  // of the open ones, among all
    for (size_t i = 0; i < requests.size(); ++i) {
      if (FindAnswer(requests[i].hash, requests[i].answer)) {
        ++outcome_.answers_found;
        continue;
      }
      open.push_back(requests[i].request);
      index.push_back(i);
    }

    std::vector<size_t> fresh;  // answered, but not kept yet
    const auto on_answer = [&](std::span<const size_t> equal, const Answer& answer) {
      for (size_t i : equal) requests[index[i]].answer = answer;
      fresh.push_back(index[equal[0]]);
    };
    const auto on_pass = [&](uint64_t answered) {
      if (options_.store != nullptr && !fresh.empty()) {
        options_.store->Begin();
        for (size_t i : fresh) PutAnswer(requests[i].hash, requests[i].answer);
        options_.store->Commit();
      }
      fresh.clear();
      context_.progress.Advance(outcome_.answers_found + answered, "");
    };

    context_.progress.Begin(task_.name, requests.size());
    const auto counts = compute(std::span<const Request>(open), on_answer, on_pass);
    context_.progress.End();
    return counts;
  }

  TaskScore NewScore(const TaskPart& part, const std::string& metric) const {
    return qualm::NewScore(task_, outcome_.asked, part, metric);
  }

  const Task& task_;
  const Model& model_;
  const Tokenizer& tokenizer_;
  const std::string& model_hash_;
  const TaskRunOptions& options_;
  const PromptStyle style_;  // as far as the task has prompts
  const Context& context_;
  TaskOutcome outcome_;

 private:
  void SetNote();
  void SetKey(std::string prompt_hash, std::span<const TokenId> first_tokens);
  void OpenEvaluation(ResultStore& store);
  void KeepItems(ResultStore& store) const;

  bool FindAnswer(const std::string& request, LikelihoodAnswer& answer) const;
  bool FindAnswer(const std::string& request, GenerationAnswer& answer) const;
  void PutAnswer(const std::string& request, const LikelihoodAnswer& answer) const;
  void PutAnswer(const std::string& request, const GenerationAnswer& answer) const;
};

}  // namespace qualm
