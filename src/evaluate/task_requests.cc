// Turns items into likelihood requests: one token sequence for each continuation, in the same
// context, or for each window of a text that is scored by itself. Contexts that are too long lose
// shots, then tokens on the left.
#include "evaluate/task_requests.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/prompt.h"
#include "tokenize/tokenizer.h"

namespace qualm {
namespace {

// Makes the requests of all items. Run is called once; it appends an item's requests in the order
// of its continuations and notes where they begin.
class RequestMaker {
 public:
  RequestMaker(const Task& task, const TaskItems& made, const Tokenizer& tokenizer, size_t context,
               const PromptStyle& style)
      : made_(made),
        tokenizer_(tokenizer),
        context_(context),
        style_(style),
        is_rolling_(IsRolling(task)),
        wants_unconditional_(std::ranges::find(task.metrics, "acc_pmi") != task.metrics.end()) {}

  TaskRequests Run() {
    for (const TaskItem& item : made_.items) Ask(item);
    return std::move(result_);
  }

 private:
  void Ask(const TaskItem& item) {
    AskedItem asked;
    asked.first = result_.requests.size();
    asked.count = item.continuations.size();
    if (is_rolling_) {
      std::vector<AskedRequest> windows;
      for (LikelihoodRequest& window :
           RollingRequests(tokenizer_, item.continuations[0], context_)) {
        windows.push_back({std::move(window), "", 0, {}});
      }
      asked.count = windows.size();
      Append(std::move(windows), item.place);
      result_.items.push_back(asked);
      return;
    }

    // All continuations of an item get the same number of shots, or their likelihoods would not be
    // comparable.
    size_t shots = made_.shots;
    std::vector<AskedRequest> requests = RequestsOf(item, shots);
    while (shots > 0 && !FitsContext(requests)) {
      requests = RequestsOf(item, --shots);
    }

    if (shots < made_.shots) ++result_.prompts_with_fewer_shots;
    if (!FitsContext(requests)) ++result_.prompts_truncated;
    Append(std::move(requests), item.place);

    // PMI compares with the likelihood of the continuation after an empty context.
    if (wants_unconditional_) {
      asked.first_unconditional = result_.requests.size();
      const EncodedContext nothing = EncodeContext(tokenizer_, "");
      requests.clear();
      for (size_t i = 0; i < item.continuations.size(); ++i) {
        const std::string continuation = item.chat_continuations.empty()
                                             ? item.continuations[i]
                                             : ContinuationText(item, i, style_);
        requests.push_back({MakeLikelihoodRequest(tokenizer_, nothing, continuation), "", 0, {}});
      }
      Append(std::move(requests), item.place);
    }
    result_.items.push_back(asked);
  }

  // A context that all continuations share is encoded once.
  std::vector<AskedRequest> RequestsOf(const TaskItem& item, size_t shots) const {
    std::vector<AskedRequest> requests;
    EncodedContext encoded;
    for (size_t i = 0; i < item.continuations.size(); ++i) {
      if (i == 0 || item.contexts.size() > 1) {
        encoded = EncodeContext(tokenizer_, PromptText(item, shots, i, style_));
      }
      requests.push_back(
          {MakeLikelihoodRequest(tokenizer_, encoded, ContinuationText(item, i, style_)),
           "",
           shots,
           {}});
    }
    return requests;
  }

  // The last token is only predicted, never an input.
  bool FitsContext(const std::vector<AskedRequest>& requests) const {
    return std::ranges::all_of(requests, [&](const AskedRequest& one) {
      return one.request.tokens.size() - 1 <= context_;
    });
  }

  void Append(std::vector<AskedRequest> requests, const std::string& place) {
    for (AskedRequest& one : requests) {
      Truncate(one.request, place);
      one.hash = one.request.Hash();
      result_.requests.push_back(std::move(one));
    }
  }

  // Drops tokens on the left and keeps BOS. The continuation must remain whole.
  void Truncate(LikelihoodRequest& request, const std::string& place) const {
    if (request.tokens.size() - 1 <= context_) return;
    if (request.continuation_length() > context_) {
      ThrowBadInput(place, StrCat("a continuation of at most ", context_, " tokens"),
                    StrCat(request.continuation_length()), "the model's context is too short");
    }

    const std::optional<TokenId> bos = tokenizer_.special().bos;
    const auto surplus = static_cast<ptrdiff_t>(request.tokens.size() - 1 - context_);
    const auto begin = request.tokens.begin() + (bos && request.tokens[0] == *bos ? 1 : 0);
    request.tokens.erase(begin, begin + surplus);
    request.context_length -= static_cast<size_t>(surplus);
  }

  const TaskItems& made_;
  const Tokenizer& tokenizer_;
  size_t context_;
  const PromptStyle& style_;
  bool is_rolling_;
  bool wants_unconditional_;
  TaskRequests result_;
};

}  // namespace

TaskRequests MakeTaskRequests(const Task& task, const TaskItems& made, const Tokenizer& tokenizer,
                              size_t context, const PromptStyle& style) {
  return RequestMaker(task, made, tokenizer, context, style).Run();
}

std::vector<LikelihoodRequest> RollingRequests(const Tokenizer& tokenizer, std::string_view text,
                                               size_t context) {
  std::vector<TokenId> tokens = {EmptyPrompt(tokenizer)};
  for (TokenId token : tokenizer.Encode(text)) tokens.push_back(token);
  if (tokens.size() > 2 && tokens[1] == tokens[0]) tokens.erase(tokens.begin());
  if (tokens.size() < 2) ThrowBadInput("request", "a text with a token", StrCat("'", text, "'"));

  // `begin` is the first token that is not scored yet; the last one is only predicted.
  std::vector<LikelihoodRequest> windows;
  for (size_t begin = 1; begin < tokens.size();) {
    const size_t end = std::min(begin + context, tokens.size());
    const size_t first = std::min(begin - 1, end - std::min(end, context + 1));
    LikelihoodRequest window;
    window.tokens.assign(tokens.begin() + static_cast<ptrdiff_t>(first),
                         tokens.begin() + static_cast<ptrdiff_t>(end));
    window.context_length = begin - first;
    windows.push_back(std::move(window));
    begin = end;
  }
  return windows;
}

}  // namespace qualm
