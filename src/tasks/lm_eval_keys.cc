// Checks the keys of a task file against those of the harness's TaskConfig (lm_eval 0.4.13), each
// with the kind of its value, and refuses files of groups.
#include "tasks/lm_eval_keys.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "tasks/task_keys.h"

namespace qualm {
namespace {

enum class ValueKind : uint8_t {
  kText,
  kTexts,     // a text or a list
  kRowValue,  // a text, a number, a list or a map: RowValue reads it
  kWhole,     // a whole number
  kTruth,     // yes or no
  kList,
  kMap,
  kRefused,  // needs Python, or a picture: a later check says so
};

struct KnownKey {
  const char* name;
  ValueKind kind;
};

// In the order of TaskConfig; the last one is ours.
constexpr KnownKey kKnownKeys[] = {{"task", ValueKind::kText},
                                   {"task_alias", ValueKind::kText},
                                   {"tag", ValueKind::kTexts},
                                   {"group", ValueKind::kTexts},
                                   {"include", ValueKind::kTexts},
                                   {"dataset_path", ValueKind::kText},
                                   {"dataset_name", ValueKind::kText},
                                   {"dataset_kwargs", ValueKind::kMap},
                                   {"training_split", ValueKind::kText},
                                   {"validation_split", ValueKind::kText},
                                   {"test_split", ValueKind::kText},
                                   {"fewshot_split", ValueKind::kText},
                                   {"fewshot_config", ValueKind::kMap},
                                   {"num_fewshot", ValueKind::kWhole},
                                   {"process_docs", ValueKind::kRefused},
                                   {"process_results", ValueKind::kRefused},
                                   {"custom_dataset", ValueKind::kRefused},
                                   {"use_prompt", ValueKind::kRefused},
                                   {"doc_to_text", ValueKind::kRowValue},
                                   {"doc_to_target", ValueKind::kRowValue},
                                   {"doc_to_choice", ValueKind::kRowValue},
                                   {"doc_to_image", ValueKind::kRefused},
                                   {"doc_to_audio", ValueKind::kRefused},
                                   {"unsafe_code", ValueKind::kTruth},
                                   {"description", ValueKind::kText},
                                   {"target_delimiter", ValueKind::kText},
                                   {"fewshot_delimiter", ValueKind::kText},
                                   {"gen_prefix", ValueKind::kText},
                                   {"output_type", ValueKind::kText},
                                   {"metric_list", ValueKind::kList},
                                   {"generation_kwargs", ValueKind::kMap},
                                   {"repeats", ValueKind::kWhole},
                                   {"filter_list", ValueKind::kList},
                                   {"should_decontaminate", ValueKind::kTruth},
                                   {"doc_to_decontamination_query", ValueKind::kText},
                                   {"metadata", ValueKind::kMap},
                                   {"qualm", ValueKind::kMap}};

void CheckKind(const Yaml& value, ValueKind kind) {
  switch (kind) {
    case ValueKind::kText:
      (void)value.AsString();
      return;
    case ValueKind::kTexts:
      if (value.kind() != Yaml::Kind::kList) (void)value.AsString();
      return;
    case ValueKind::kWhole:
      (void)value.AsInt();
      return;
    case ValueKind::kTruth:
      (void)LmEvalTruth(value);
      return;
    case ValueKind::kList:
      (void)value.AsList();
      return;
    case ValueKind::kMap:
      (void)value.AsMap();
      return;
    case ValueKind::kRowValue:
    case ValueKind::kRefused:
      return;
  }
}

// What a group's list calls a member: a name, or a map that changes a task or is a group itself.
std::string MemberName(const Yaml& member) {
  if (!member.IsMap()) return member.AsString();
  const Yaml* group = member.Find("group");
  return group != nullptr ? group->AsString() : member.Get("task").AsString();
}

void RefuseGroup(const Yaml& file) {
  const Yaml* tasks = file.Find("task");
  if (tasks == nullptr || tasks->kind() != Yaml::Kind::kList) return;
  std::vector<std::string> names;
  for (const Yaml& member : tasks->AsList()) names.push_back(MemberName(member));

  const Yaml* group = file.Find("group");
  const std::string name =
      group == nullptr || group->kind() != Yaml::Kind::kScalar ? "" : group->AsString();
  ThrowBadInput(
      tasks->place(), "one task",
      StrCat("a group", name.empty() ? "" : " ", name, " of ", names.size()),
      StrCat("name the files of its tasks one by one, separated by commas: ", Join(names, ",")));
}

}  // namespace

void CheckLmEvalKeys(const Yaml& file) {
  RefuseGroup(file);
  std::vector<std::string> names;
  for (const KnownKey& key : kKnownKeys) names.emplace_back(key.name);
  file.RequireKnownKeys(names);

  for (const KnownKey& key : kKnownKeys) {
    const Yaml* value = file.Find(key.name);
    if (value != nullptr && !TaskKeys::IsNone(*value)) CheckKind(*value, key.kind);
  }
}

bool LmEvalTruth(const Yaml& value) {
  const std::string text = ToLower(value.AsString());
  if (text == "true" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "no" || text == "off") return false;
  ThrowBadInput(value.place(), "true or false", StrCat("'", value.AsString(), "'"));
}

}  // namespace qualm
