// Which key of the harness's files says what: lm_eval/loggers/evaluation_tracker.py,
// lm_eval/evaluator.py and lm_eval/result_schema.py of 0.4.13.
#include "evaluate/lm_eval_results.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/opened_files.h"
#include "base/strings.h"
#include "evaluate/protocol_record.h"
#include "io/python_json.h"

namespace qualm {
namespace {

constexpr uint64_t kMostBytes = uint64_t{256} << 20;
constexpr size_t kMostLineBytes = size_t{64} << 20;

// Null if it is absent or null, or if `object` is none.
const Json* Find(const Json* object, std::string_view key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() || found->is_null() ? nullptr : &*found;
}

const Json* FindText(const Json* object, std::string_view key) {
  const Json* value = Find(object, key);
  return value != nullptr && value->is_string() ? value : nullptr;
}

// "pretrained=x,dtype=float32" or an object; the value of a key as text, empty if it is not said.
std::string ArgumentOf(const Json* arguments, const std::string& key) {
  if (const Json* value = Find(arguments, key)) {
    return value->is_string() ? value->get<std::string>() : value->dump();
  }
  if (arguments == nullptr || !arguments->is_string()) return "";
  for (const std::string& argument : Split(arguments->get<std::string>(), ',')) {
    const std::string_view text = Trim(argument);
    if (text.starts_with(key + "=")) return std::string(text.substr(key.size() + 1));
  }
  return "";
}

// The kind of task, in our words.
std::string KindOf(const std::string& output_type) {
  if (output_type == "loglikelihood") return "continuation";
  if (output_type == "loglikelihood_rolling") return "rolling";
  if (output_type == "generate_until") return "generation";
  return output_type;
}

// Copies numbers, texts, truths, and lists of them.
void Copy(const Json* from, const char* key, const char* fact, EvaluationRecord& record) {
  const Json* value = Find(from, key);
  if (value == nullptr || value->is_object()) return;
  if (value->is_array() &&
      std::ranges::any_of(*value, [](const Json& one) { return one.is_structured(); })) {
    return;
  }
  record.facts[fact] = *value;
}

// Scores have keys "METRIC,FILTER" and "METRIC_stderr,FILTER"; all else there is no score.
void AddScores(const Json& results, EvaluationRecord& record) {
  for (const auto& [key, value] : results.items()) {
    const size_t comma = key.find(',');
    if (comma == std::string::npos || !value.is_number()) continue;
    const std::string metric = key.substr(0, comma), filter = key.substr(comma + 1);
    if (metric.ends_with("_stderr")) continue;

    RecordedScore score;
    score.metric = metric;
    score.filter = filter == "none" ? "" : filter;
    score.value = value.get<double>();
    const Json* error = Find(&results, StrCat(metric, "_stderr,", filter));
    if (error != nullptr && error->is_number()) score.standard_error = error->get<double>();
    record.scores.push_back(std::move(score));
  }
}

// What the task's own configuration says.
void AddConfig(const Json* config, const Json* run, EvaluationRecord& record) {
  if (const Json* type = FindText(config, "output_type")) {
    record.facts["kind"] = KindOf(type->get<std::string>());
  }
  if (const Json* metrics = Find(config, "metric_list");
      metrics != nullptr && metrics->is_array()) {
    for (const Json& metric : *metrics) {
      const Json* name = FindText(&metric, "metric");
      if (name == nullptr) continue;
      record.facts.emplace("main_metric", *name);
    }
  }
  const auto kind = record.facts.find("kind");
  if (kind == record.facts.end() || kind->second != "generation") return;

  // Without a list of filters there is one, called none.
  Json names = Json::array();
  if (const Json* filters = Find(config, "filter_list");
      filters != nullptr && filters->is_array()) {
    for (const Json& filter : *filters) {
      if (const Json* name = FindText(&filter, "name")) names.push_back(*name);
    }
  }
  if (names.empty()) names.push_back("none");
  record.facts["filters"] = std::move(names);

  // The run's own options win over the task's.
  const Json* generation = Find(config, "generation_kwargs");
  Copy(generation, "until", "until", record);
  Copy(generation, "max_gen_toks", "max_tokens", record);
  Copy(generation, "temperature", "temperature", record);
  Copy(generation, "top_p", "top_p", record);
  Copy(config, "repeats", "samples", record);
  const Json* options = Find(run, "gen_kwargs");
  for (const auto& [key, fact] : {std::pair{"max_gen_toks", "max_tokens"},
                                  {"temperature", "temperature"},
                                  {"top_p", "top_p"}}) {
    const std::string value = ArgumentOf(options, key);
    double number = 0;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), number);
    if (read.ec == std::errc() && !value.empty()) record.facts[fact] = number;
  }
  if (record.facts.contains("until") && record.facts["until"].is_string()) {
    record.facts["until"] = Json::array({record.facts["until"]});
  }
}

// The next line without its end; false after the last one. Throws bad input for a line that is too
// long to be kept.
bool NextLine(std::istream& in, std::string_view place, std::string& line) {
  line.clear();
  std::streambuf& bytes = *in.rdbuf();
  for (int byte = bytes.sbumpc(); byte != EOF; byte = bytes.sbumpc()) {
    if (byte == '\n') return true;
    if (line.size() == kMostLineBytes) {
      ThrowBadInput(place, StrCat("lines of at most ", HumanBytes(kMostLineBytes)), "a longer one");
    }
    line += static_cast<char>(byte);
  }
  return !line.empty();
}

// One line of a samples file, as far as it is compared.
struct Sample {
  uint64_t row = 0;
  std::string filter, prompt_hash;
  std::optional<std::string> prompt;
  std::vector<std::string> continuations;
  std::string target;
};

// A request's context and what follows it: {"arg_0": ..., "arg_1": ...}, in older files a list.
const Json* PartOf(const Json& request, size_t part) {
  if (request.is_array()) return part < request.size() ? &request[part] : nullptr;
  return Find(&request, StrCat("arg_", part));
}

void AddArguments(const Json& arguments, Sample& sample) {
  if (!arguments.is_structured()) return;
  for (const Json& request : arguments) {
    const Json* context = PartOf(request, 0);
    const Json* continuation = PartOf(request, 1);
    if (!sample.prompt && context != nullptr && context->is_string()) {
      sample.prompt = context->get<std::string>();
    }
    if (continuation != nullptr && continuation->is_string()) {
      sample.continuations.push_back(continuation->get<std::string>());
    }
  }
}

Sample SampleOf(const std::string& line, const std::string& place) {
  const Json json = ParsePythonJson(line, place);
  if (!json.is_object()) ThrowBadInput(place, "an object", json.type_name());
  Sample sample;
  const int64_t row = GetInt(json, "doc_id", place);
  if (row < 0) ThrowBadInput(place, "a doc_id of at least 0", StrCat(row));
  sample.row = static_cast<uint64_t>(row);
  sample.filter = GetString(json, "filter", place, "none");
  sample.prompt_hash = GetString(json, "prompt_hash", place, "");
  if (const Json* arguments = Find(&json, "arguments")) AddArguments(*arguments, sample);
  if (const Json* target = FindText(&json, "target")) sample.target = target->get<std::string>();

  // Versions before 0.4.3 have no hashes, but the prompt.
  if (sample.prompt_hash.empty() && sample.prompt)
    sample.prompt_hash = Sha256OfText(*sample.prompt);
  if (sample.prompt_hash.empty()) {
    ThrowBadInput(place, "prompt_hash, or arguments with a text", "neither");
  }
  return sample;
}

RecordedItem ItemOf(Sample sample, bool has_continuations) {
  RecordedItem item;
  item.row = sample.row;
  item.prompt_sha256 = std::move(sample.prompt_hash);
  item.prompt = std::move(sample.prompt);
  if (has_continuations) {
    HashOfHashes hash;
    for (const std::string& text : sample.continuations) hash.Add(text);
    item.continuations_sha256 = hash.Hex();
    item.continuations = std::move(sample.continuations);
  }
  item.targets = {std::move(sample.target)};
  return item;
}

}  // namespace

struct LmEvalResults::Content {
  std::filesystem::path file;
  Json json;

  const Json& results() const { return json["results"]; }
  // An entry of a map by tasks.
  const Json* Of(const char* map, const std::string& task) const {
    return Find(Find(&json, map), task);
  }
};

LmEvalResults::LmEvalResults(const std::filesystem::path& file) {
  const std::string place = file.string();
  Json json = ParsePythonJson(ReadFile(file, kMostBytes), place);
  const Json* results = Find(&json, "results");
  if (results == nullptr || !results->is_object()) {
    ThrowBadInput(place, "results of lm-evaluation-harness, with the key 'results'", "other JSON",
                  "the output of 'qualm eval --json' is given without --against");
  }
  content_ = std::make_unique<const Content>(Content{file, std::move(json)});
}

LmEvalResults::~LmEvalResults() = default;

std::vector<std::string> LmEvalResults::Tasks() const {
  std::vector<std::string> tasks;
  for (const auto& [task, scores] : content_->results().items()) tasks.push_back(task);
  return tasks;
}

EvaluationRecord LmEvalResults::Record(const std::string& task) const {
  const Json* results = Find(&content_->results(), task);
  if (results == nullptr || !results->is_object()) {
    ThrowUnknownName(content_->file.string(), "task", task, Tasks());
  }
  EvaluationRecord record;
  record.name = task;
  record.is_lm_eval = true;
  record.facts["task"] = task;
  AddScores(*results, record);

  const Json* run = Find(&content_->json, "config");
  AddConfig(content_->Of("configs", task), run, record);
  if (!record.facts.contains("main_metric") && !record.scores.empty()) {
    record.facts["main_metric"] = record.scores[0].metric;
  }

  // The task and its rows.
  Copy(Find(&content_->json, "versions"), task.c_str(), "version", record);
  const Json* samples = content_->Of("n-samples", task);
  Copy(samples, "effective", "n", record);
  Copy(samples, "original", "rows_in_split", record);
  Copy(Find(&content_->json, "n-shot"), task.c_str(), "shots", record);
  Copy(run, "fewshot_seed", "fewshot_seed", record);

  // What is around the prompt. The keys are there since 0.4.3, with null for nothing.
  for (const auto& [key, fact] :
       {std::pair{"chat_template_sha", "chat_template"}, {"system_instruction_sha", "system"}}) {
    if (!content_->json.contains(key)) continue;
    const Json* hash = FindText(&content_->json, key);
    record.facts[fact] = hash == nullptr ? Json(kNoSuchThing) : *hash;
  }
  Copy(&content_->json, "fewshot_as_multiturn", "multiturn", record);

  // BOS: which token it is. Whether it is in front is known only where the run was told.
  if (const Json* bos = Find(&content_->json, "tokenizer_bos_token");
      bos != nullptr && bos->is_array() && bos->size() == 2) {
    const bool has_bos = (*bos)[0].is_string() && (*bos)[1].is_string() && (*bos)[1] != "None";
    record.facts["bos_token"] = has_bos ? *bos : Json(kNoSuchThing);
  }
  const Json* arguments = Find(run, "model_args");
  const std::string adds_bos = ToLower(ArgumentOf(arguments, "add_bos_token"));
  if (adds_bos == "true" || adds_bos == "false") {
    record.facts["leading_bos"] = adds_bos == "true" ? 1 : 0;
  }

  // The model. Its numbers are of one type, for weights and for arithmetic.
  Copy(&content_->json, "max_length", "context", record);
  std::string type = ArgumentOf(arguments, "dtype");
  if (const Json* said = FindText(run, "model_dtype")) type = said->get<std::string>();
  if (type.starts_with("torch.")) type = type.substr(6);
  if (!type.empty() && type != "auto") record.facts["compute_type"] = type;
  return record;
}

std::filesystem::path LmEvalResults::SamplesOf(const std::string& task) const {
  // results_DATE.json, or NAME_DATE.json; a DATE has no underscore.
  const std::string stem = content_->file.stem().string();
  const size_t underscore = stem.rfind('_');
  if (underscore == std::string::npos || task.find('/') != std::string::npos) return {};
  const std::filesystem::path samples =
      content_->file.parent_path() / StrCat("samples_", task, stem.substr(underscore), ".jsonl");
  std::error_code ignored;
  return std::filesystem::is_regular_file(samples, ignored) ? samples : std::filesystem::path();
}

void LmEvalResults::AddSamples(const std::filesystem::path& samples,
                               std::span<const uint64_t> wanted, EvaluationRecord& record) const {
  NoteOpened(samples);
  std::ifstream in(samples, std::ios::binary);
  if (!in) ThrowBadInput(samples.string(), "a readable file", "none");
  const Json kind = record.facts.contains("kind") ? record.facts["kind"] : Json();
  const bool has_continuations = kind == "multiple_choice" || kind == "continuation";

  // Lines are read one by one: the file may be much larger than what is kept of it.
  HashOfHashes prompts, continuations;
  std::string filter;
  Json first_rows = Json::array();
  uint64_t items = 0, lines = 0;
  for (std::string line; NextLine(in, samples.string(), line);) {
    const std::string place = StrCat(samples.string(), " line ", ++lines);
    if (Trim(line).empty()) continue;
    Sample sample = SampleOf(line, place);
    if (items == 0) filter = sample.filter;
    if (sample.filter != filter) continue;

    prompts.AddHash(sample.prompt_hash);
    for (const std::string& text : sample.continuations) continuations.Add(text);
    const bool is_first = items++ < kRecordedItems;
    if (is_first) first_rows.push_back(sample.row);
    if (is_first || std::ranges::find(wanted, sample.row) != wanted.end()) {
      record.items.push_back(ItemOf(std::move(sample), has_continuations));
    }
  }

  if (items == 0) ThrowBadInput(samples.string(), "a line for each item", "no line");
  record.facts["first_rows"] = std::move(first_rows);
  record.facts["n"] = items;
  record.facts["prompts_sha256"] = prompts.Hex();
  // A task that also asks without a context has further requests, which ours counts elsewhere.
  const bool asks_twice = std::ranges::any_of(
      record.scores, [](const RecordedScore& score) { return score.metric == "acc_mutual_info"; });
  if (has_continuations && !asks_twice) {
    record.facts["continuations_sha256"] = continuations.Hex();
  } else {
    for (RecordedItem& item : record.items) item.continuations_sha256.clear();
  }
}

std::string LmEvalTaskName(std::string_view ours) {
  std::string name = PlainTaskName(ours);
  constexpr std::string_view kMark = "-lm-eval";
  if (const size_t at = name.find(kMark); at != std::string::npos) name.erase(at, kMark.size());
  std::ranges::replace(name, ':', '_');
  return name;
}

}  // namespace qualm
