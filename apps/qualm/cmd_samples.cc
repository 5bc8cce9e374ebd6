// qualm samples: shows prompts, answers and scores of stored items, one by one.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "evaluate/request.h"
#include "generate/generation_request.h"
#include "results/store.h"
#include "task_eval.h"

namespace qualm::cli {
namespace {

// An empty model means the one that was asked last.
struct Flags {
  std::string store, task, model;
  size_t count = 5;
  bool wrong = false, flipped = false;
};

// The evaluations of the task; the one named by --model, or the last one, comes first.
std::vector<StoredEvaluation> FindEvaluations(const ResultStore& store, const Flags& flags) {
  const std::string model = flags.model.empty() ? "" : store.FindModel(StoredName(flags.model));
  // Newer evaluations come before older ones.
  std::vector<StoredEvaluation> found;
  std::vector<std::string> tasks;
  for (StoredEvaluation& one : store.Evaluations()) {
    if (std::ranges::find(tasks, one.key.task) == tasks.end()) tasks.push_back(one.key.task);
    if (one.is_finished && one.key.task == flags.task) found.insert(found.begin(), std::move(one));
  }

  if (found.empty()) ThrowUnknownName(flags.store, "finished task", flags.task, tasks);

  // The evaluation to show moves to the front.
  const auto first = std::ranges::find_if(
      found, [&](const StoredEvaluation& one) { return model.empty() || one.key.model == model; });
  if (first == found.end()) {
    ThrowBadInput(flags.store, StrCat("task ", flags.task, " finished by ", flags.model), "none");
  }
  std::rotate(found.begin(), first, first + 1);
  return found;
}

// Items that another model with the same prompts got right and this one did not, or the reverse.
std::vector<uint64_t> FlippedItems(const ResultStore& store,
                                   const std::vector<StoredEvaluation>& found) {
  const std::vector<StoredItem> items = store.Items(found[0].id);
  // The other model is the newest whose key differs in nothing but the model.
  std::vector<uint64_t> flipped;
  for (size_t i = 1; i < found.size(); ++i) {
    EvaluationKey same = found[i].key;
    same.model = found[0].key.model;
    if (same != found[0].key || found[i].key.model == found[0].key.model) continue;

    const std::vector<StoredItem> others = store.Items(found[i].id);
    for (size_t k = 0; k < std::min(items.size(), others.size()); ++k) {
      if (items[k].is_correct != others[k].is_correct) flipped.push_back(items[k].item);
    }
    return flipped;
  }
  ThrowBadInput("--flipped", "another model with the same prompts in the store", "none");
}

// The generated texts of the requests; empty for tasks that compare likelihoods.
std::vector<std::optional<StoredText>> TextsOf(const ResultStore& store,
                                               const StoredEvaluation& evaluation,
                                               const std::vector<StoredRequest>& requests) {
  std::vector<std::optional<StoredText>> texts;
  for (const StoredRequest& request : requests) {
    texts.push_back(store.FindText(evaluation.key.model, request.request, kGenerationProtocol));
    if (!texts.back()) return {};
  }
  return texts;
}

// An item of a generation task.
Json GeneratedJson(const StoredItem& item, const std::vector<StoredRequest>& requests,
                   const std::vector<std::optional<StoredText>>& texts,
                   const std::vector<StoredReading>& readings) {
  // One entry per sample of the item.
  Json made = Json::array();
  for (size_t i = 0; i < texts.size(); ++i) {
    made.push_back({{"prompt", requests[i].prompt},
                    {"context", requests[i].context},
                    {"tokens", requests[i].tokens},
                    {"head", requests[i].head},
                    {"tail", requests[i].tail},
                    {"text", texts[i]->text},
                    {"made_tokens", texts[i]->tokens},
                    {"finish_reason", texts[i]->reason}});
  }

  Json json = {{"item", item.item},
               {"subset", item.subset},
               {"row", item.row},
               {"reference", requests[0].continuation},
               {"prediction", item.prediction},
               {"value", item.value},
               {"is_correct", item.is_correct},
               {"texts", made}};
  // What the task's further filters read.
  for (const StoredReading& reading : readings) {
    json["filters"].push_back(
        {{"filter", reading.filter}, {"prediction", reading.prediction}, {"value", reading.value}});
  }
  return json;
}

// An item of a generation task, for reading.
std::string GeneratedText(const StoredItem& item, const std::vector<StoredRequest>& requests,
                          const std::vector<std::optional<StoredText>>& texts,
                          const std::vector<StoredReading>& readings) {
  std::string text = StrCat("--- item ", item.item, item.subset.empty() ? "" : ", ", item.subset,
                            " row ", item.row, ": ", Fixed(100 * item.value, 2), " %\n",
                            requests[0].prompt, requests[0].context, "\n");

  for (const std::optional<StoredText>& one : texts) {
    text += StrCat(" > '", one->text, "'  (", one->tokens, " tokens, ", one->reason, ")\n");
  }
  text += StrCat("   read as   '", item.prediction, "'\n");
  for (const StoredReading& reading : readings) {
    text += StrCat("   read as   '", reading.prediction, "' by ", reading.filter, ": ",
                   Fixed(100 * reading.value, 2), " %\n");
  }
  return text + StrCat("   reference '", requests[0].continuation, "'\n   tokens ",
                       requests[0].head, " ... ", requests[0].tail, "\n");
}

Json ToJson(const StoredItem& item, const std::vector<StoredRequest>& requests,
            const std::vector<std::optional<StoredText>>& texts,
            const std::vector<StoredReading>& readings) {
  if (!texts.empty()) return GeneratedJson(item, requests, texts, readings);

  // Each request is one choice of the item.
  Json choices = Json::array();
  for (const StoredRequest& request : requests) {
    choices.push_back({{"prompt", request.prompt},
                       {"context", request.context},
                       {"continuation", request.continuation},
                       {"tokens", request.tokens},
                       {"continuation_tokens", request.continuation_tokens},
                       {"head", request.head},
                       {"tail", request.tail},
                       {"log_likelihood", std::isfinite(request.answer.log_likelihood)
                                              ? Json(request.answer.log_likelihood)
                                              : Json()},
                       {"is_greedy", request.answer.is_greedy}});
  }

  return {{"item", item.item},
          {"subset", item.subset},
          {"row", item.row},
          {"gold", item.gold},
          {"picked", item.picked},
          {"is_correct", item.is_correct},
          {"is_near_tie", item.is_near_tie},
          {"choices", choices}};
}

// The prompt once, then a line for each choice.
std::string ToText(const StoredItem& item, const std::vector<StoredRequest>& requests,
                   const std::vector<std::optional<StoredText>>& texts,
                   const std::vector<StoredReading>& readings) {
  if (!texts.empty()) return GeneratedText(item, requests, texts, readings);
  std::string text = StrCat("--- item ", item.item, item.subset.empty() ? "" : ", ", item.subset,
                            " row ", item.row, item.is_correct ? ": right" : ": wrong",
                            item.is_near_tie ? ", near tie" : "", "\n");

  // Choices usually share their context, which is then printed once.
  std::string context;
  for (const StoredRequest& request : requests) {
    if (request.prompt + request.context != context) {
      context = request.prompt + request.context;
      text += StrCat(context, "\n");
    }
    // Marks, log-likelihood, and how many tokens the number covers.
    const auto choice = static_cast<int64_t>(request.choice);
    text += StrCat(choice == item.picked ? " > " : "   ", choice == item.gold ? "* " : "  ",
                   Fixed(request.answer.log_likelihood, 4), "  '", request.continuation, "'  (",
                   request.continuation_tokens, " of ", request.tokens, " tokens)\n");
  }

  if (!requests.empty()) {
    text += StrCat("   tokens ", requests[0].head, " ... ", requests[0].tail, "\n");
  }
  return text;
}

int Run(const Flags& flags, const Globals& globals) {
  // The evaluation to show, and the items on which another one differs.
  RequireStore(flags.store);
  const ResultStore store(flags.store);
  const std::vector<StoredEvaluation> found = FindEvaluations(store, flags);
  const StoredEvaluation& evaluation = found[0];
  std::vector<uint64_t> flipped;
  if (flags.flipped) flipped = FlippedItems(store, found);

  // The legend of the marks comes first.
  Json samples = Json::array();
  size_t shown = 0;
  if (!globals.json) {
    Print(StrCat(evaluation.key.task, " v", evaluation.key.version, ", ", evaluation.key.shots,
                 " shots, ", store.PathOfModel(evaluation.key.model),
                 "; > picked or written, * right\n"));
  }

  // Items that pass the filters, up to --n of them.
  for (const StoredItem& item : store.Items(evaluation.id)) {
    if (flags.wrong && item.is_correct) continue;
    if (flags.flipped && std::ranges::find(flipped, item.item) == flipped.end()) continue;
    if (shown++ == flags.count) break;
    const std::vector<StoredRequest> requests =
        store.Requests(evaluation.id, item.item, evaluation.key.model, kLikelihoodProtocol);
    const std::vector<std::optional<StoredText>> texts = TextsOf(store, evaluation, requests);
    const std::vector<StoredReading> readings = store.Readings(evaluation.id, item.item);

    if (globals.json) {
      samples.push_back(ToJson(item, requests, texts, readings));
    } else {
      Print(ToText(item, requests, texts, readings));
    }
  }

  if (globals.json) {
    PrintJson({{"task", evaluation.key.task},
               {"version", evaluation.key.version},
               {"shots", evaluation.key.shots},
               {"model", store.PathOfModel(evaluation.key.model)},
               {"samples", samples}});
  }
  return kOk;
}

}  // namespace

Command AddSamples(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // Whose items, and which of them.
  arguments.Add("STORE", flags->store, "A results store of qualm eval --store").Required();
  arguments.Add("--task", flags->task, "Whose items").Required();
  arguments.Add("--model", flags->model,
                "A model's path or the beginning of its hash; default: the last one asked");
  arguments.Add("--n", flags->count, "Items to show").ShowDefault().Positive();
  arguments.Flag("--wrong", flags->wrong, "Only those with a wrong answer");
  arguments.Flag("--flipped", flags->flipped,
                 "Only those that another model in the store answers the other way round");

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm samples results.db --task mmlu --wrong --n 10\n"
      "  qualm samples results.db --task hellaswag --model OUT --flipped --json");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
