// What was asked, taken from the items and requests of a run.
#include "evaluate/protocol_record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "io/hash.h"
#include "model/model.h"
#include "tasks/prompt.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// The beginning of a text, cut between two characters. Malformed bytes become U+FFFD.
std::string BeginningOf(std::string_view text) {
  if (text.size() <= kRecordedTextBytes) return RepairUtf8(text);
  text = text.substr(0, kRecordedTextBytes);
  text.remove_suffix(UnfinishedBytes(text));
  return RepairUtf8(text);
}

// The first ids, how many there are, and a hash over all of them.
void AddTokens(std::span<const TokenId> ids, Json& json) {
  json["tokens"] = ids.size();
  json["token_ids"] = ids.first(std::min(kRecordedTokens, ids.size()));
  json["token_hash"] =
      HashBytes({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(TokenId)});
}

// Which token BOS is, and how often it is in front of the first tokens that the model read: twice
// is a common mistake.
Json BosJson(const Tokenizer& tokenizer, std::span<const TokenId> first) {
  const std::optional<TokenId> bos = tokenizer.special().bos;
  size_t leading = 0;
  while (bos && leading < first.size() && first[leading] == *bos) ++leading;
  return {{"id", bos ? Json(*bos) : Json()},
          {"piece", bos ? Json(RepairUtf8(tokenizer.Piece(*bos))) : Json()},
          {"leading", leading}};
}

// What computed the scores.
void AddModel(const Model& model, Json& json) {
  json["compute_type"] = "float32";
  json["weights"] = WeightsText(model);
}

// The prompt of an item with all its examples. Of texts that are scored by themselves it is the
// text, as in the harness.
std::string PromptOf(const Task& task, const TaskItem& item, size_t shots,
                     const PromptStyle& style) {
  return IsRolling(task) ? item.continuations[0] : PromptText(item, shots, 0, style);
}

// What is scored after the prompt; generated texts and texts scored by themselves have none.
std::vector<std::string> ContinuationsOf(const Task& task, const TaskItem& item,
                                         const PromptStyle& style) {
  std::vector<std::string> texts;
  if (IsRolling(task) || task.kind == TaskKind::kGeneration) return texts;
  for (size_t i = 0; i < item.continuations.size(); ++i) {
    texts.push_back(ContinuationText(item, i, style));
  }
  return texts;
}

std::string HashOfAll(std::span<const std::string> texts) {
  HashOfHashes hash;
  for (const std::string& text : texts) hash.Add(text);
  return hash.Hex();
}

// What the item's answer is compared with: the numbers of the right choices, or the references.
Json TargetsOf(const Task& task, const TaskItem& item) {
  Json targets = Json::array();
  if (task.kind == TaskKind::kMultipleChoice) {
    for (size_t i = 0; i < item.choices.size(); ++i) {
      if (item.IsRight(i)) targets.push_back(i);
    }
    return targets;
  }
  const std::vector<std::string>& texts =
      task.kind == TaskKind::kGeneration ? item.choices : item.continuations;
  for (size_t i = 0; i < std::min(kRecordedContinuations, texts.size()); ++i) {
    targets.push_back(BeginningOf(texts[i]));
  }
  return targets;
}

std::span<const TokenId> FirstTokensOf(const Task& task, const TaskOutcome& outcome, size_t item) {
  if (task.kind == TaskKind::kGeneration) {
    const auto found = std::ranges::find(outcome.texts, item, &TextRequest::item);
    return found == outcome.texts.end() ? std::span<const TokenId>() : found->request.tokens;
  }
  return outcome.requests.requests[outcome.requests.items[item].first].request.tokens;
}

size_t LongestRequest(const TaskOutcome& outcome) {
  size_t longest = 0;
  for (const AskedRequest& asked : outcome.requests.requests) {
    longest = std::max(longest, asked.request.tokens.size());
  }
  for (const TextRequest& asked : outcome.texts) {
    longest = std::max(longest, asked.request.tokens.size() + asked.request.max_tokens);
  }
  return longest;
}

Json ChatJson(const PromptStyle& style) {
  if (style.chat == nullptr) return nullptr;
  Json options = Json::array();
  for (const std::string& option : style.chat_settings.options) {
    options.push_back(RepairUtf8(option));
  }
  const std::string& date = style.chat_settings.date;
  return {{"name", RepairUtf8(style.chat->label())},
          {"sha256", Sha256OfText(style.chat->text())},
          {"date", date.empty() ? std::string(kFixedChatDate) : date},
          {"options", std::move(options)}};
}

Json SystemJson(const PromptStyle& style) {
  if (style.system.empty()) return nullptr;
  return {{"sha256", Sha256OfText(style.system)}, {"text", BeginningOf(style.system)}};
}

Json GenerationJson(const Task& task) {
  Json stops = Json::array();
  for (const std::string& stop : task.generation.stop) stops.push_back(RepairUtf8(stop));
  return {{"until", std::move(stops)},
          {"max_tokens", task.generation.max_tokens},
          {"samples", task.generation.samples},
          {"temperature", task.generation.temperature},
          {"top_p", task.generation.top_p}};
}

Json ItemJson(const Task& task, const TaskOutcome& outcome, size_t index,
              const PromptStyle& style) {
  const TaskItem& item = outcome.asked.items[index];
  const std::string prompt = PromptOf(task, item, outcome.asked.shots, style);
  const std::vector<std::string> continuations = ContinuationsOf(task, item, style);

  Json json = {{"row", item.row}};
  if (!item.subset.empty()) json["subset"] = item.subset;
  json["prompt_sha256"] = Sha256OfText(prompt);
  json["prompt_bytes"] = prompt.size();
  json["prompt"] = BeginningOf(prompt);

  json["continuations_sha256"] = HashOfAll(continuations);
  json["continuations"] = Json::array();
  for (size_t i = 0; i < std::min(kRecordedContinuations, continuations.size()); ++i) {
    json["continuations"].push_back(BeginningOf(continuations[i]));
  }
  json["targets"] = TargetsOf(task, item);
  json["shot_rows"] = item.shots->rows;
  AddTokens(FirstTokensOf(task, outcome, index), json);
  return json;
}

const char* KindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kMultipleChoice:
      return "multiple_choice";
    case TaskKind::kContinuation:
      return "continuation";
    case TaskKind::kGeneration:
      return "generation";
  }
  return "";
}

}  // namespace

std::string WeightsText(const Model& model) {
  if (model.manifest) return model.manifest->recipe_name;
  const QuantizedLayers* layers = model.checkpoint->quantized().layers();
  if (layers == nullptr) return "float";
  const ReadOptions& read = model.source.read;
  std::string text = StrCat(layers->description().name, " (", layers->description().variant, ")");
  if (read.float32_weights) text += ", weights not rounded to the library's type";
  if (read.weights_only) text += ", inputs and caches not rounded";
  if (read.gptq_zeros != GptqZeros::kAuto) {
    text += StrCat(", zero points read as ", NameOfEnum(read.gptq_zeros));
  }
  return text;
}

Json TaskProtocolJson(const Task& task, const TaskOutcome& outcome, const Model& model,
                      const TaskRunOptions& options) {
  const PromptStyle style = options.style.For(task);
  const TaskItems& asked = outcome.asked;

  // Hashes over all items, in their order.
  HashOfHashes prompts, continuations;
  std::string rows;
  for (const TaskItem& item : asked.items) {
    prompts.Add(PromptOf(task, item, asked.shots, style));
    for (const std::string& text : ContinuationsOf(task, item, style)) continuations.Add(text);
    rows += StrCat(item.subset, "\t", item.row, "\n");
  }

  // The task and its rows.
  const std::string& split = options.items.split;
  Json json = {{"task", RepairUtf8(outcome.key.task)},
               {"version", task.version},
               {"is_lm_eval", task.lm_eval != nullptr},
               {"kind", IsRolling(task) ? "rolling" : KindName(task.kind)},
               {"split", RepairUtf8(split.empty() ? task.split : split)},
               {"files_hash", outcome.key.files},
               {"n", asked.items.size()},
               {"rows_in_split", asked.rows_in_split},
               {"limit", options.items.limit},
               {"rows_hash", HashBytes(rows)}};

  // What the model was given.
  json["prompts_sha256"] = prompts.Hex();
  json["continuations_sha256"] = continuations.Hex();
  json["bos"] = BosJson(model.RequireTokenizer(), FirstTokensOf(task, outcome, 0));
  json["chat_template"] = ChatJson(style);
  json["multiturn"] = style.shots_as_turns;
  json["system"] = SystemJson(style);
  json["shots"] = asked.shots;
  json["fewshot_seed"] = asked.fewshot_seed;

  // How its answers became scores.
  json["metrics"] = task.metrics;
  json["filters"] = Json::array();
  for (const AnswerFilter& filter : task.generation.filters) {
    json["filters"].push_back(RepairUtf8(filter.name()));
  }
  json["generation"] = task.kind == TaskKind::kGeneration ? GenerationJson(task) : Json();
  json["context"] = model.decoder->plan.context;
  json["longest_request"] = LongestRequest(outcome);
  json["prompts_with_fewer_shots"] = outcome.prompts_with_fewer_shots;
  json["prompts_truncated"] = outcome.prompts_truncated;
  json["texts_shortened"] = outcome.texts_shortened;
  AddModel(model, json);

  json["items"] = Json::array();
  for (size_t i = 0; i < std::min(kRecordedItems, asked.items.size()); ++i) {
    json["items"].push_back(ItemJson(task, outcome, i, style));
  }
  return json;
}

Json TextProtocolJson(const PerplexityText& text, std::string_view content,
                      const PerplexityProtocol& protocol, size_t seqlen, size_t limit,
                      const Model& model) {
  // The text and its windows, which follow one another: the stride is the window's length.
  Json json = {
      {"corpus", RepairUtf8(text.name)},
      {"text_sha256", Sha256OfText(content)},
      {"text_bytes", content.size()},
      {"n", text.windows.size()},
      {"limit", limit},
      {"protocol", protocol.name},
      {"protocol_version", protocol.version},
      {"seqlen", seqlen},
      {"stride", text.windows.size() > 1 ? text.windows[1].begin - text.windows[0].begin : seqlen}};

  const std::vector<TokenId> first = text.WindowIds(text.windows.front());
  json["bos"] = BosJson(model.RequireTokenizer(), first);
  json["bos_in_every_window"] = text.window_bos.has_value();
  AddModel(model, json);

  // Tokens of the whole text, then of its first windows.
  Json tokens = Json::object();
  AddTokens(text.ids, tokens);
  json["tokens"] = tokens["tokens"];
  json["token_hash"] = tokens["token_hash"];
  json["items"] = Json::array();
  for (size_t i = 0; i < std::min(kRecordedItems, text.windows.size()); ++i) {
    Json window = Json::object();
    AddTokens(text.WindowIds(text.windows[i]), window);
    json["items"].push_back(std::move(window));
  }
  return json;
}

}  // namespace qualm
