// Typed reads from a config.json with the bounds that hold for every family. Each error names the
// file and the key. A key that no family asked for is an error as well: it would change what the
// model computes, and nobody would know.
#include "model/config_reader.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// Larger values in a config.json are a damaged or hostile file, not a model.
constexpr int64_t kLargestSize = int64_t{1} << 24;

// Keys that a config.json of any family may have and that do not change its logits: who wrote it
// and with what, what training needs, how texts are drawn, and what other programs do with memory.
constexpr std::string_view kWithoutInfluence[] = {
    // The file and its writer.
    "_attn_implementation",
    "compression_config",
    "quantization_config",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_flash_attn_2_enabled",
    "_from_model_config",
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "max_sequence_length",
    "model_type",
    "name_or_path",
    "torch_dtype",
    "transformers_version",
    "transformers.js_config",
    "unsloth_fixed",
    "unsloth_version",
    "vocab_size_per_layer_input",
    // Special tokens and the tokenizer, read elsewhere.
    "bos_token_id",
    "cls_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "mask_token_id",
    "model_max_length",
    "pad_token_id",
    "sep_token_id",
    "tokenizer_class",
    "unk_token_id",
    // Training.
    "activation_dropout",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_dropout",
    "attn_pdrop",
    "classifier_dropout",
    "dropout",
    "embed_dropout",
    "embd_pdrop",
    "emb_pdrop",
    "embedding_dropout",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "init_std",
    "initializer_factor",
    "initializer_range",
    "layerdrop",
    "num_steps",
    "pretraining_tp",
    "resid_dropout",
    "resid_pdrop",
    "residual_dropout",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    // Other tasks.
    "_num_labels",
    "finetuning_task",
    "id2label",
    "label2id",
    "n_special",
    "num_labels",
    "predict_special_tokens",
    "problem_type",
    "task_specific_params",
    // What the library returns and keeps.
    "cache_implementation",
    "chunk_size_feed_forward",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_router_logits",
    "output_scores",
    "pruned_heads",
    "return_dict",
    "return_dict_in_generate",
    "tf_legacy_loss",
    "torchscript",
    "use_bfloat16",
    "use_cache",
    "keys_to_ignore_at_inference",
    "is_decoder",
    "tie_encoder_decoder",
    "cross_attention_hidden_size",
    "is_encoder_decoder",
    "add_cross_attention",
    // How texts are drawn, which generation_config.json says today.
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
};

// Keys that ask for something which most families do not have. False asks for nothing.
constexpr std::string_view kNothingIfFalse[] = {
    "add_cross_attention",         "is_encoder_decoder", "attention_bias", "mlp_bias", "use_bias",
    "use_bidirectional_attention", "use_sliding_window", "use_mrope",
};

bool IsWithoutInfluence(const std::string& key, const Json& value) {
  if (std::ranges::find(kWithoutInfluence, key) != std::end(kWithoutInfluence)) return true;
  return value == false && std::ranges::find(kNothingIfFalse, key) != std::end(kNothingIfFalse);
}

}  // namespace

void ConfigReader::Note(std::string_view key) const { asked_->insert(StrCat(place_, ":", key)); }

// Null counts as missing: some writers put it for every key that they leave at its default.
const Json* ConfigReader::Value(std::string_view key) const {
  Note(key);
  const auto found = json_.find(std::string(key));
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::Has(std::string_view key) const { return Value(key) != nullptr; }

bool ConfigReader::HasNonzero(std::string_view key) const {
  const Json* value = Value(key);
  return value != nullptr && !(value->is_number() && value->get<double>() == 0);
}

size_t ConfigReader::LengthOf(std::string_view key) const {
  const Json* value = Value(key);
  return value != nullptr && value->is_array() ? value->size() : 0;
}

bool ConfigReader::HasObject(std::string_view key) const {
  const Json* value = Value(key);
  return value != nullptr && value->is_object();
}

bool ConfigReader::HasText(std::string_view key) const {
  const Json* value = Value(key);
  return value != nullptr && value->is_string();
}

bool ConfigReader::HasNull(std::string_view key) const {
  Note(key);
  const auto found = json_.find(std::string(key));
  return found != json_.end() && found->is_null();
}

size_t ConfigReader::Size(std::string_view key) const { return Size(key, 0); }

// A fallback of 0 means that the key is required.
size_t ConfigReader::Size(std::string_view key, size_t fallback) const {
  Note(key);
  const int64_t value = fallback > 0 ? GetInt(json_, key, place_, static_cast<int64_t>(fallback))
                                     : GetInt(json_, key, place_);
  if (value < 1 || value > kLargestSize) {
    Refuse(key, StrCat("a size in 1..", kLargestSize), StrCat(value));
  }
  return static_cast<size_t>(value);
}

// The negated condition also refuses NaN. Null is refused, too: transformers takes it as a value,
// and fails when it computes with it.
double ConfigReader::Positive(std::string_view key, double fallback) const {
  if (HasNull(key)) Refuse(key, "a positive number from 1e-12 to 1e12", "null");
  const double value = GetDouble(json_, key, place_, fallback);
  if (!(value >= 1e-12 && value <= 1e12)) {
    Refuse(key, "a positive number from 1e-12 to 1e12", StrCat(value));
  }
  return value;
}

bool ConfigReader::Bool(std::string_view key, bool fallback) const {
  Note(key);
  return GetBool(json_, key, place_, fallback);
}

int64_t ConfigReader::Int(std::string_view key, int64_t fallback) const {
  Note(key);
  return GetInt(json_, key, place_, fallback);
}

std::string ConfigReader::Text(std::string_view key, std::string_view fallback) const {
  Note(key);
  return GetString(json_, key, place_, fallback);
}

// A list of the length that the rest of the file asks for; null if the key is missing.
const Json* ConfigReader::List(std::string_view key, size_t count, std::string_view of) const {
  const Json* list = Value(key);
  if (list == nullptr) return nullptr;
  if (!list->is_array() || list->size() != count) {
    Refuse(key, StrCat("a list of ", count, " ", of),
           list->is_array() ? StrCat("a list of ", list->size()) : list->dump());
  }
  return list;
}

std::vector<std::string> ConfigReader::Texts(std::string_view key, size_t count) const {
  std::vector<std::string> texts;
  const Json* list = List(key, count, "texts");
  if (list == nullptr) return texts;
  for (const Json& item : *list) {
    if (!item.is_string()) Refuse(key, "texts", item.dump());
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

std::vector<int64_t> ConfigReader::Ints(std::string_view key, size_t count) const {
  std::vector<int64_t> values;
  const Json* list = List(key, count, "integers");
  if (list == nullptr) return values;
  for (const Json& item : *list) {
    // Above the largest int64 the library keeps what would come back as a negative number.
    const bool is_too_large =
        item.is_number_unsigned() && item.get<uint64_t>() > std::numeric_limits<int64_t>::max();
    if ((!item.is_number_integer() && !item.is_boolean()) || is_too_large) {
      Refuse(key, "integers", item.dump());
    }
    values.push_back(item.is_boolean() ? int64_t{item.get<bool>()} : item.get<int64_t>());
  }
  return values;
}

std::vector<double> ConfigReader::Numbers(std::string_view key, size_t count) const {
  std::vector<double> values;
  const Json* list = List(key, count, "numbers");
  if (list == nullptr) return values;
  for (const Json& item : *list) {
    const double value = item.is_number() ? item.get<double>() : 0;
    if (!(value >= 1e-12 && value <= 1e12)) {
      Refuse(key, "positive numbers from 1e-12 to 1e12", item.dump());
    }
    values.push_back(value);
  }
  return values;
}

ConfigReader ConfigReader::Inner(std::string_view key) const {
  const Json* object = Value(key);
  if (object == nullptr || !object->is_object()) {
    Refuse(key, "an object or null", object == nullptr ? "null" : object->dump());
  }
  return ConfigReader(*object, StrCat(place_, ":", key), asked_);
}

void ConfigReader::Ignore(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) Note(key);
}

void ConfigReader::Require(std::string_view key, bool value) const {
  if (Bool(key, value) == value) return;
  Refuse(key, value ? "true" : "false", value ? "false" : "true", "the other is not supported");
}

void ConfigReader::RequireText(std::string_view key, std::string_view value) const {
  if (const std::string got = Text(key, value); got != value) {
    Refuse(key, value, got, "others are not supported");
  }
}

void ConfigReader::RefuseUnknownKeys() const {
  for (const auto& item : json_.items()) {
    if (item.value().is_null()) continue;
    const std::string path = StrCat(place_, ":", item.key());
    if (!asked_->contains(path)) {
      if (IsWithoutInfluence(item.key(), item.value())) continue;
      Refuse(item.key(), "keys that the family understands", item.value().dump(),
             StrCat("if it has no influence on the outputs, leave it out: --config ", item.key(),
                    "=null"));
    }
    // An object that was read key by key.
    const std::string inside = path + ":";
    const auto first_inside = asked_->lower_bound(inside);
    if (!item.value().is_object() || first_inside == asked_->end() ||
        !first_inside->starts_with(inside)) {
      continue;
    }
    ConfigReader(item.value(), path, asked_).RefuseUnknownKeys();
  }
}

bool ConfigReader::WasAskedFor(const std::vector<std::string>& keys) const {
  std::string path = place_;
  for (const std::string& key : keys) path += StrCat(":", key);
  return asked_->contains(path);
}

void ConfigReader::Refuse(std::string_view key, std::string_view expected, std::string_view got,
                          std::string_view hint) const {
  // A value from the file may be of any length.
  constexpr size_t kLongest = 80;
  const std::string shown(got.substr(0, kLongest));
  ThrowBadInput(StrCat(place_, ":", key), expected, got.size() > kLongest ? shown + "..." : shown,
                hint);
}

}  // namespace qualm
