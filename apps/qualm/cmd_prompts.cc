// qualm prompts: what a task asks, as texts, without a model.
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "data/named_corpora.h"
#include "data/row_sets.h"
#include "model/hub_cache.h"
#include "prompt_flags.h"
#include "tasks/prompt_json.h"
#include "tasks/task.h"

namespace qualm::cli {

namespace {

struct Options {
  std::string tasks, data, model;
  PromptFlags prompt;
  std::optional<std::string> bos, eos;
  uint64_t limit = 0;
};

// Where a row is from, and the rows of its examples.
std::string HeadOf(const TaskItem& item) {
  std::string head = StrCat("=== ", item.place);
  if (item.shots->rows.empty()) return head;
  std::vector<std::string> rows;
  for (size_t row : item.shots->rows) rows.push_back(StrCat(row));
  return StrCat(head, ", examples: rows ", Join(rows, ", "));
}

// For people: each prompt in full, then what is scored after it, with a mark at the right one.
void PrintItem(const Task& task, const TaskItem& item, size_t shots, const PromptStyle& style) {
  Print(HeadOf(item) + "\n");
  const size_t contexts = item.contexts.size();
  for (size_t i = 0; i < contexts; ++i) {
    if (contexts > 1) Print(StrCat("--- context ", i, "\n"));
    Print(PromptText(item, shots, i, style) + "\n");
  }

  if (task.kind == TaskKind::kGeneration) {
    Print(StrCat("--- references\n", Join(item.choices, "\n"), "\n"));
    return;
  }
  Print("--- continuations\n");
  for (size_t i = 0; i < item.continuations.size(); ++i) {
    const bool is_right = task.kind == TaskKind::kMultipleChoice && item.IsRight(i);
    Print(StrCat(is_right ? "* " : "  ", Json(ContinuationText(item, i, style)).dump(), "\n"));
  }
}

int Run(const Options& options, const Globals& globals) {
  WarnOfBytes(options.prompt.system, "--system", *MakeProgress(globals));
  ChatOptions tokens = ChatOptionsOf(options.prompt.settings);
  tokens.bos = options.bos;
  tokens.eos = options.eos;
  const std::optional<ChatTemplate> chat = FindPromptTemplate(
      options.prompt, FindModelFolder(options.model, ModelParts::kWithoutWeights), tokens);
  const PromptStyle asked_style = StyleOf(options.prompt, chat);
  ItemOptions items = ItemOptionsOf(options.prompt);
  items.limit = options.limit;
  const std::filesystem::path data = DataFolder(options.data);

  for (const std::string& names : Split(options.tasks, ',')) {
    for (const std::string& name : ExpandTaskName(names)) {
      Task task = FindTask(name);
      const PromptStyle style = asked_style.For(task);
      task.variant += style.Variant() + SplitVariant(task, items);
      const TaskItems made = MakeItems(task, items, data);
      if (globals.json) {
        PrintJson(PromptsAsJson(task, made, style));
        continue;
      }
      for (const TaskItem& item : made.items) PrintItem(task, item, made.shots, style);
    }
  }
  return kOk;
}

}  // namespace

Command AddPrompts(Arguments& arguments, Globals& globals) {
  auto options = std::make_shared<Options>();
  arguments
      .Add("TASK", options->tasks,
           "Tasks or groups ('qualm list tasks'), single subsets (mmlu:anatomy), or .yaml files, "
           "also lm-evaluation-harness's, separated by commas")
      .Required();
  AddDataFlag(arguments, options->data);
  AddPromptFlags(arguments, options->prompt);
  const Argument model =
      arguments.Add("--model", options->model,
                    "A model's folder, for its chat template and the tokens that templates name");
  arguments.Flag("--chat", options->prompt.chat, "Ask as that model's own chat template says")
      .Needs(model);
  arguments.Add("--bos", options->bos,
                "BOS as templates write it; default: the model's, else none");
  arguments.Add("--eos", options->eos, "EOS likewise");
  arguments
      .Add("--limit", options->limit,
           "N rows, the same that qualm eval --limit asks (of lm-evaluation-harness's tasks the "
           "first)")
      .Positive();
  AddJsonFlag(arguments, globals);
  arguments.Check([options] { return ComplaintAbout(options->prompt); });

  arguments.Examples(
      "  qualm prompts arc_easy --data DATA --limit 3\n"
      "  qualm prompts gsm8k-lm-eval --data DATA --shots 5 --fewshot-seed 42 --limit 10 --json\n"
      "  qualm prompts my_task.yaml --shots 2 --chat-template chatml --system 'Be brief.' "
      "--multiturn\n"
      "  qualm prompts mmlu:anatomy --data DATA --json | jq '.requests[0]'");
  return [options, &globals] { return Run(*options, globals); };
}

}  // namespace qualm::cli
