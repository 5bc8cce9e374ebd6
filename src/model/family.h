// What a model family is, as data: names of its tensors, which linear layers share an input, what
// precedes them, where a scale or rotation may be folded. Methods read these tables and never ask
// for a family by name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace qualm {

// A width of the model, to be looked up in its configuration.
enum class Width { kHidden, kQuery, kKeyValue, kIntermediate };
size_t SizeOf(Width width, const ModelConfig& config);

struct LinearSpec {
  std::string name;  // inside the block: "self_attn.q_proj"
  Width out;
  bool feeds_scores = false;  // its output goes into the attention scores
};

// Linear layers of one block that read the same input.
struct LinearGroup {
  std::string name;  // "attention_input"
  Width in;
  std::vector<LinearSpec> linears;
  std::string preceding_norm;    // the norm whose output they read; empty if none
  std::string preceding_linear;  // the linear layer whose output (per channel) they read; or empty
};

struct Family {
  std::string model_type;
  std::string embedding, final_norm, head;  // full tensor names without ".weight"
  std::string block_prefix;                 // "model.layers." (then the index and a dot)
  std::string attention_norm, mlp_norm;     // inside the block
  // Execution order inside a block: attention input, attention output, mlp input, mlp output.
  std::vector<LinearGroup> groups;
  // What a missing max_position_embeddings or num_key_value_heads means (0: as many as heads).
  size_t default_context = 2048, default_kv_heads = 0;
  // Reads the fields of config.json that are this family's own (biases, sliding window).
  void (*complete_config)(const Json& json, std::string_view place, ModelConfig& config);
};

// The table (families.cc), one line per file in families/.
std::span<const Family* const> AllFamilies();
const Family& FindFamily(std::string_view model_type, std::string_view place);
std::vector<std::string> FamilyNames();

// "model.layers.3.self_attn.q_proj"
std::string LinearName(const Family& family, size_t block, std::string_view linear);

}  // namespace qualm
