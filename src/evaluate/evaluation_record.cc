// Reads the output of qualm eval --json, key by key.
#include "evaluate/evaluation_record.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr uint64_t kMostBytes = uint64_t{256} << 20;

bool IsScalar(const Json& value) {
  return value.is_string() || value.is_number() || value.is_boolean();
}

bool IsFact(const Json& value) {
  return IsScalar(value) || (value.is_array() && std::ranges::all_of(value, IsScalar));
}

// Null if it is absent or null.
const Json* Find(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json& ListOf(const Json& object, const char* key, const std::string& place) {
  const Json& list = GetChild(object, key, place);
  if (!list.is_array()) ThrowBadInput(place, StrCat("a list under '", key, "'"), list.type_name());
  return list;
}

std::vector<std::string> TextsOf(const Json& object, const char* key, const std::string& place) {
  std::vector<std::string> texts;
  for (const Json& text : ListOf(object, key, place)) {
    if (!IsScalar(text)) {
      ThrowBadInput(place, StrCat("texts or numbers under '", key, "'"), text.type_name());
    }
    texts.push_back(text.is_string() ? text.get<std::string>() : text.dump());
  }
  return texts;
}

template <class T>
std::vector<T> NumbersOf(const Json& object, const char* key, const std::string& place) {
  std::vector<T> numbers;
  for (const Json& number : ListOf(object, key, place)) {
    if (!number.is_number_integer()) {
      ThrowBadInput(place, StrCat("whole numbers under '", key, "'"), number.type_name());
    }
    numbers.push_back(number.get<T>());
  }
  return numbers;
}

// Copies those of the keys that are there.
void CopyFacts(const Json& from, std::initializer_list<const char*> keys, const std::string& place,
               EvaluationRecord& record) {
  for (const char* key : keys) {
    const Json* value = Find(from, key);
    if (value == nullptr) continue;
    if (!IsFact(*value)) {
      ThrowBadInput(place, StrCat("a value or a list of values under '", key, "'"),
                    value->type_name());
    }
    record.facts[key] = *value;
  }
}

// An object whose absence says something, such as a chat template: `fact` is one of its keys.
void CopyFrom(const Json& from, const char* object, const char* key, const char* fact,
              const std::string& place, EvaluationRecord& record) {
  const auto found = from.find(object);
  if (found == from.end()) return;
  record.facts[fact] = found->is_null() ? Json(kNoSuchThing) : Json(GetString(*found, key, place));
}

void CopyBos(const Json& from, const std::string& place, EvaluationRecord& record) {
  const Json& bos = GetChild(from, "bos", place);
  record.facts["leading_bos"] = GetInt(bos, "leading", place);
  const Json* id = Find(bos, "id");
  record.facts["bos_token"] =
      id == nullptr ? Json(kNoSuchThing)
                    : Json({GetString(bos, "piece", place, ""), StrCat(GetInt(bos, "id", place))});
}

RecordedItem ItemOf(const Json& json, bool is_text, size_t index, const std::string& place) {
  RecordedItem item;
  item.token_ids = NumbersOf<int64_t>(json, "token_ids", place);
  item.tokens = static_cast<uint64_t>(std::max<int64_t>(GetInt(json, "tokens", place), 0));
  item.token_hash = GetString(json, "token_hash", place);
  item.row = index;
  if (is_text) return item;

  item.row = static_cast<uint64_t>(std::max<int64_t>(GetInt(json, "row", place), 0));
  item.prompt_sha256 = GetString(json, "prompt_sha256", place);
  item.prompt = GetString(json, "prompt", place);
  item.continuations_sha256 = GetString(json, "continuations_sha256", place);
  item.continuations = TextsOf(json, "continuations", place);
  item.targets = TextsOf(json, "targets", place);
  item.shot_rows = NumbersOf<uint64_t>(json, "shot_rows", place);
  return item;
}

void AddItems(const Json& protocol, const std::string& place, EvaluationRecord& record) {
  Json rows = Json::array();
  size_t index = 0;
  for (const Json& item : ListOf(protocol, "items", place)) {
    const std::string item_place = StrCat(place, ", item ", index);
    record.items.push_back(ItemOf(item, record.is_text, index, item_place));
    rows.push_back(record.items.back().row);
    ++index;
  }
  if (!record.is_text) record.facts["first_rows"] = std::move(rows);
}

void AddTaskProtocol(const Json& json, const std::string& place, EvaluationRecord& record) {
  record.is_lm_eval = GetBool(json, "is_lm_eval", place, false);
  CopyFacts(json,
            {"version",
             "kind",
             "split",
             "files_hash",
             "n",
             "rows_in_split",
             "limit",
             "rows_hash",
             "prompts_sha256",
             "multiturn",
             "shots",
             "fewshot_seed",
             "metrics",
             "filters",
             "context",
             "longest_request",
             "prompts_with_fewer_shots",
             "prompts_truncated",
             "texts_shortened",
             "weights",
             "compute_type"},
            place, record);

  // Generated texts and texts that are scored by themselves have no continuations.
  const std::string kind = GetString(json, "kind", place);
  if (kind == "multiple_choice" || kind == "continuation") {
    CopyFacts(json, {"continuations_sha256"}, place, record);
  }

  CopyBos(json, place, record);
  CopyFrom(json, "chat_template", "sha256", "chat_template", place, record);
  CopyFrom(json, "system", "sha256", "system", place, record);
  if (const Json* chat = Find(json, "chat_template")) {
    record.facts["chat_date"] = GetString(*chat, "date", place);
    CopyFacts(*chat, {"options"}, place, record);
  }
  const std::vector<std::string> metrics = TextsOf(json, "metrics", place);
  if (!metrics.empty()) record.facts["main_metric"] = metrics[0];
  if (const Json* generation = Find(json, "generation")) {
    CopyFacts(*generation, {"until", "max_tokens", "samples", "temperature", "top_p"}, place,
              record);
  }
  AddItems(json, place, record);
}

void AddTextProtocol(const Json& json, const std::string& place, EvaluationRecord& record) {
  CopyFacts(json,
            {"text_sha256", "n", "limit", "protocol", "protocol_version", "seqlen", "stride",
             "bos_in_every_window", "token_hash", "weights", "compute_type"},
            place, record);
  CopyBos(json, place, record);
  AddItems(json, place, record);
}

double NumberOf(const Json& row, const char* key, const std::string& place) {
  return GetDouble(row, key, place, std::numeric_limits<double>::quiet_NaN());
}

// "exact_match,flexible-extract" is a metric and, in another key, its filter.
RecordedScore ScoreOf(const Json& row, const std::string& place) {
  RecordedScore score;
  score.metric = Split(GetString(row, "metric", place), ',')[0];
  score.filter = GetString(row, "filter", place, "");
  score.value = NumberOf(row, "value", place);
  score.standard_error = NumberOf(row, "stderr", place);
  return score;
}

EvaluationRecord& RecordOf(const std::string& name, bool is_text,
                           std::vector<EvaluationRecord>& records) {
  const auto found = std::ranges::find(records, name, &EvaluationRecord::name);
  if (found != records.end()) return *found;
  EvaluationRecord record;
  record.name = name;
  record.is_text = is_text;
  record.facts[is_text ? "corpus" : "task"] = is_text ? name : PlainTaskName(name);
  records.push_back(std::move(record));
  return records.back();
}

}  // namespace

std::string PlainTaskName(std::string_view name) {
  return std::string(name.substr(0, name.find_first_of("@+")));
}

std::vector<EvaluationRecord> ReadEvaluations(const std::filesystem::path& file) {
  const std::string place = file.string();
  const Json json = ParseJson(ReadFile(file, kMostBytes), place);
  const bool has_tasks = json.is_object() && json.contains("rows");
  const bool has_texts = json.is_object() && json.contains("results");
  if (has_tasks == has_texts || !json.contains("model_hash")) {
    ThrowBadInput(place, "what 'qualm eval --json' writes", "other JSON",
                  "results of lm-evaluation-harness are given with --against");
  }

  // Scores of whole tasks, and what older versions said with each of them.
  std::vector<EvaluationRecord> records;
  for (const Json& row : ListOf(json, has_tasks ? "rows" : "results", place)) {
    if (!row.is_object()) ThrowBadInput(place, "an object for each score", row.type_name());
    if (!GetString(row, "part", place, "").empty()) continue;
    const std::string name = GetString(row, has_tasks ? "task" : "corpus", place);
    EvaluationRecord& record = RecordOf(name, has_texts, records);
    record.scores.push_back(ScoreOf(row, place));
    record.facts["model_hash"] = GetString(json, "model_hash", place);
    CopyFacts(row, {"version", "shots", "n", "protocol", "protocol_version", "seqlen"}, place,
              record);
  }

  const Json* protocols = Find(json, "protocols");
  if (protocols == nullptr) return records;
  for (const Json& protocol : ListOf(json, "protocols", place)) {
    const std::string name = GetString(protocol, has_tasks ? "task" : "corpus", place);
    EvaluationRecord& record = RecordOf(name, has_texts, records);
    if (!record.items.empty()) continue;  // the same task was asked twice
    const std::string inner = StrCat(place, ": ", name);
    has_tasks ? AddTaskProtocol(protocol, inner, record) : AddTextProtocol(protocol, inner, record);
  }
  return records;
}

}  // namespace qualm
