// Items as JSON, in the shape in which lm-evaluation-harness hands them to a model.
#include "tasks/prompt_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tasks/task.h"

namespace qualm {
namespace {

Json TargetOf(const Task& task, const TaskItem& item) {
  if (task.kind == TaskKind::kMultipleChoice) {
    if (item.right.empty()) return item.gold;
    Json right = Json::array();
    for (size_t i = 0; i < item.right.size(); ++i) {
      if (item.right[i] != 0) right.push_back(i);
    }
    return right;
  }
  if (task.kind == TaskKind::kContinuation) return item.continuations[0];
  return item.choices.size() == 1 ? Json(item.choices[0]) : Json(item.choices);
}

// One for all choices, or one for each.
Json ContextOf(const TaskItem& item, size_t shots, const PromptStyle& style) {
  if (item.contexts.size() == 1) return PromptText(item, shots, 0, style);
  Json contexts = Json::array();
  for (size_t i = 0; i < item.contexts.size(); ++i) {
    contexts.push_back(PromptText(item, shots, i, style));
  }
  return contexts;
}

Json RequestOf(const Task& task, const TaskItem& item, size_t shots, const PromptStyle& style) {
  Json request = {{"doc", item.row}};
  if (!item.subset.empty()) request["subset"] = item.subset;
  if (IsRolling(task)) {
    request["continuation"] = item.continuations[0];
    return request;
  }

  request["context"] = ContextOf(item, shots, style);
  std::vector<std::string> continuations;
  for (size_t i = 0; i < item.continuations.size(); ++i) {
    continuations.push_back(ContinuationText(item, i, style));
  }
  if (task.kind == TaskKind::kContinuation) {
    request["continuation"] = continuations[0];
  } else if (task.kind == TaskKind::kMultipleChoice) {
    const bool is_one = std::ranges::all_of(
        continuations, [&](const std::string& text) { return text == continuations[0]; });
    request["continuations"] =
        item.contexts.size() > 1 && is_one ? Json(continuations[0]) : Json(continuations);
  }

  // The likelihoods without a context are asked for the same texts once more.
  if (std::ranges::find(task.metrics, "acc_pmi") != task.metrics.end()) {
    Json contexts = Json::array();
    for (size_t i = 0; i < 2 * continuations.size(); ++i) {
      contexts.push_back(i < continuations.size() ? PromptText(item, shots, i, style) : "");
    }
    request["context"] = std::move(contexts);
    std::vector<std::string> twice = continuations;
    twice.insert(twice.end(), continuations.begin(), continuations.end());
    request["continuations"] = std::move(twice);
  }
  request["target"] = TargetOf(task, item);
  return request;
}

}  // namespace

Json PromptsAsJson(const Task& task, const TaskItems& made, const PromptStyle& style) {
  Json json = {
      {"task", task.name + task.variant},  {"version", task.version},    {"shots", made.shots},
      {"fewshot_seed", made.fewshot_seed}, {"partial", made.is_partial}, {"metrics", task.metrics}};
  if (style.chat != nullptr) json["chat_template"] = style.chat->name();
  if (!style.system.empty()) json["system"] = style.system;
  if (style.shots_as_turns) json["multiturn"] = true;
  if (task.kind == TaskKind::kGeneration) {
    const GenerationSpec& spec = task.generation;
    json["generation"] = {{"until", spec.stop},
                          {"max_tokens", spec.max_tokens},
                          {"samples", spec.samples},
                          {"temperature", spec.temperature}};
  }

  Json requests = Json::array(), rows = Json::array();
  for (const TaskItem& item : made.items) {
    requests.push_back(RequestOf(task, item, made.shots, style));
    rows.push_back(item.shots->rows);
  }
  json["requests"] = std::move(requests);
  if (made.shots > 0) json["shot_rows"] = std::move(rows);
  return json;
}

}  // namespace qualm
