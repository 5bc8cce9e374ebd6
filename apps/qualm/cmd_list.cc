// qualm list: prints the names that other commands take, from the tables of the library. Each kind
// has a function that returns its items, and one line in kKinds.
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "calibrate/sampler.h"
#include "chat/chat_template.h"
#include "cli.h"
#include "data/named_corpora.h"
#include "data/row_sets.h"
#include "efficiency/hardware.h"
#include "evaluate/protocol.h"
#include "formats/quantized_layers.h"
#include "io/fields.h"
#include "methods/rounders.h"
#include "methods/transforms.h"
#include "model/family.h"
#include "recipe/recipe.h"
#include "study/spec.h"
#include "tasks/answer_filters.h"
#include "tasks/task.h"

namespace qualm::cli {

namespace {

// One name with what there is to say about it.
struct Item {
  std::string name, summary;
  std::vector<FieldDescription> options = {};  // of a method
};

std::vector<Item> Recipes() {
  std::vector<Item> items;
  for (const std::string& name : RecipeNames()) items.push_back({name, RecipeSummary(name)});
  return items;
}

std::vector<Item> Rounders() {
  std::vector<Item> items;
  for (const RounderEntry& entry : AllRounders()) {
    items.push_back({entry.name, entry.summary, entry.make(nullptr)->OptionFields()});
  }
  return items;
}

std::vector<Item> Transforms() {
  std::vector<Item> items;
  for (const TransformEntry& entry : AllTransforms()) {
    items.push_back({entry.name, entry.summary, entry.make(nullptr)->OptionFields()});
  }
  return items;
}

// A family is named by what config.json calls it.
std::vector<Item> Families() {
  std::vector<Item> items;
  for (const std::string& name : FamilyNames())
    items.push_back({name, "model_type in config.json"});
  return items;
}

// Quantized files that are read; what a container holds is found in it, so that it is not a line of
// the table.
std::vector<Item> FileFormats() {
  std::vector<Item> items = {
      {"qualm", "folders of qualm quantize: codes, scales and a manifest"},
      {"gguf", "GGUF files, single or split, with their tokenizers"},
      {"peft", "LoRA adapters on another model (--adapter, convert --base)"}};
  for (const Format& format : Formats()) {
    items.push_back({std::string(format.name), std::string(format.summary)});
  }
  return items;
}

std::vector<Item> Protocols() {
  std::vector<Item> items;
  for (const PerplexityProtocol& protocol : AllProtocols()) {
    items.push_back({protocol.name, protocol.summary});
  }
  return items;
}

std::vector<Item> Samplers() {
  std::vector<Item> items;
  for (const std::string& name : SamplerNames()) {
    items.push_back({name, std::string(SamplerDescription(name))});
  }
  return items;
}

std::vector<Item> Corpora() {
  std::vector<Item> items;
  for (const NamedCorpus& corpus : AllNamedCorpora())
    items.push_back({corpus.name, StrCat(corpus.title, " (calibration: ", corpus.calibration,
                                         ", evaluation: ", corpus.evaluation, ")")});
  return items;
}

// Tasks, then the groups that --task takes as well.
std::vector<Item> Tasks() {
  std::vector<Item> items;
  for (const std::string& name : TaskNames()) items.push_back({name, TaskTitle(name)});
  for (const TaskGroup& group : AllTaskGroups()) {
    items.push_back({group.name, StrCat(group.title, ": ", Join(group.tasks, ", "))});
  }
  return items;
}

std::vector<Item> Metrics() {
  // The kind of task is part of the summary, because metrics belong to kinds.
  std::vector<Item> items;
  for (const MetricEntry& metric : AllTaskMetrics()) {
    items.push_back(
        {metric.name, StrCat(metric.kind == TaskKind::kMultipleChoice ? "multiple choice: "
                             : metric.kind == TaskKind::kContinuation ? "continuation: "
                                                                      : "generation: ",
                             metric.summary)});
  }

  // These two are always computed for multiple choice, so they are not in the table of metrics.
  for (const char* name : {"brier", "ece"}) {
    items.push_back({name, "multiple choice, always: calibration of the choices' softmax"});
  }
  return items;
}

// Functions of answer filters, with their arguments.
std::vector<Item> Filters() {
  std::vector<Item> items;
  for (const AnswerFunctionEntry& entry : AllAnswerFunctions()) {
    const std::string_view arguments = entry.arguments;
    items.push_back({entry.name, arguments.empty() ? std::string(entry.summary)
                                                   : StrCat(entry.summary, " (", arguments, ")")});
  }
  return items;
}

// Templates that are built in, for models whose folder has none.
std::vector<Item> ChatTemplates() {
  std::vector<Item> items;
  for (const NamedChatTemplate& one : NamedChatTemplates())
    items.push_back({one.name, one.summary});
  return items;
}

std::vector<Item> DataSets() {
  std::vector<Item> items;
  for (const RowSet& set : AllRowSets()) items.push_back({set.name, set.title});
  return items;
}

std::vector<Item> Studies() {
  std::vector<Item> items;
  for (const std::string& name : StudyNames()) items.push_back({name, StudyTitle(name)});
  return items;
}

// Named devices of the roofline model, and this machine.
std::vector<Item> Devices() {
  std::vector<Item> items;
  for (const std::string& name : HardwareNames()) {
    const Hardware hardware = FindHardware(name);
    items.push_back({name, StrCat(hardware.title, ": ", Fixed(hardware.memory_bytes / 1e9, 0),
                                  " GB, ", Fixed(hardware.bytes_per_second / 1e9, 0), " GB/s")});
  }
  items.push_back({"this", "this machine, measured when asked for"});
  return items;
}

// One kind of names; the function reads a table of the library.
struct Kind {
  const char* name;
  std::vector<Item> (*items)();
};

constexpr Kind kKinds[] = {
    {"recipes", Recipes},       {"families", Families},   {"rounders", Rounders},
    {"transforms", Transforms}, {"protocols", Protocols}, {"samplers", Samplers},
    {"corpora", Corpora},       {"tasks", Tasks},         {"datasets", DataSets},
    {"metrics", Metrics},       {"filters", Filters},     {"chat-templates", ChatTemplates},
    {"studies", Studies},       {"hardware", Devices},    {"formats", FileFormats},
};

// Options only if the method has any.
Json ToJson(const Item& item) {
  Json json{{"name", item.name}, {"summary", item.summary}};
  for (const FieldDescription& option : item.options) {
    json["options"].push_back({{"key", option.key},
                               {"type", option.type},
                               {"default", ParseJson(option.default_text, option.key)},
                               {"allowed", option.allowed},
                               {"meaning", option.meaning}});
  }
  return json;
}

int List(const std::string& name, const Globals& globals) {
  // The parser has checked the name.
  for (const Kind& kind : kKinds) {
    if (name != kind.name) continue;
    Json json = Json::array();
    std::vector<std::vector<std::string>> table;
    for (const Item& item : kind.items()) {
      json.push_back(ToJson(item));
      table.push_back({item.name, item.summary});
    }

    if (globals.json) {
      PrintJson({{name, json}});
    } else {
      Print(FormatTable(table, {}));
    }
  }
  return kOk;
}

}  // namespace

Command AddList(Arguments& arguments, Globals& globals) {
  auto kind = std::make_shared<std::string>();
  std::vector<std::string> names;
  for (const Kind& entry : kKinds) names.emplace_back(entry.name);
  arguments.Add("KIND", *kind, "What to list").Required().OneOf(names);
  AddJsonFlag(arguments, globals);
  arguments.Examples("  qualm list recipes\n  qualm list families --json");
  return [kind, &globals] { return List(*kind, globals); };
}

}  // namespace qualm::cli
