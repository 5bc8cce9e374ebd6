// What a task asks, as JSON: for `qualm prompts` and for comparison with other programs.
#pragma once

#include "io/json.h"
#include "tasks/items.h"
#include "tasks/prompt.h"

namespace qualm {

// {"task", "version", "shots", "fewshot_seed", "partial", "requests": [...], "shot_rows": [[...]]}.
// A request has "doc" (its row), "subset" if there are any, "context" and what follows it: a list
// of "continuations" (one a choice), one "continuation", or neither (generated texts; their stops
// and length are in "generation"). Where each choice has its own context, "context" is a list
// and "continuations" one text. Metrics that compare with the likelihood without a context add an
// empty context for each choice. "target" is the right choice's number (of several a list), or the
// references.
Json PromptsAsJson(const Task& task, const TaskItems& made, const PromptStyle& style);

}  // namespace qualm
