#include "model/families/families.h"

#include <array>
#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace qualm {

// The table: one line per file in families/.
std::span<const Family* const> AllFamilies() {
  static const std::array<const Family*, 3> table = {
      &LlamaFamily(),
      &MistralFamily(),
      &Qwen2Family(),
  };
  return table;
}

Family StandardFamily(std::string_view model_type,
                      void (*complete_config)(const Json&, std::string_view, ModelConfig&)) {
  Family family;
  family.model_type = model_type;
  family.embedding = "model.embed_tokens";
  family.final_norm = "model.norm";
  family.head = "lm_head";
  family.block_prefix = "model.layers.";
  family.attention_norm = "input_layernorm";
  family.mlp_norm = "post_attention_layernorm";
  family.groups = {
      {"attention_input",
       Width::kHidden,
       {{"self_attn.q_proj", Width::kQuery, /*feeds_scores=*/true},
        {"self_attn.k_proj", Width::kKeyValue, /*feeds_scores=*/true},
        {"self_attn.v_proj", Width::kKeyValue}},
       "input_layernorm",
       ""},
      {"attention_output",
       Width::kQuery,
       {{"self_attn.o_proj", Width::kHidden}},
       "",
       "self_attn.v_proj"},
      {"mlp_input",
       Width::kHidden,
       {{"mlp.gate_proj", Width::kIntermediate}, {"mlp.up_proj", Width::kIntermediate}},
       "post_attention_layernorm",
       ""},
      {"mlp_output", Width::kIntermediate, {{"mlp.down_proj", Width::kHidden}}, "", "mlp.up_proj"},
  };
  family.complete_config = complete_config;
  return family;
}

size_t SizeOf(Width width, const ModelConfig& config) {
  switch (width) {
    case Width::kHidden:
      return config.hidden_size;
    case Width::kQuery:
      return config.q_features();
    case Width::kKeyValue:
      return config.kv_features();
    case Width::kIntermediate:
      return config.intermediate_size;
  }
  return 0;
}

std::vector<std::string> FamilyNames() {
  std::vector<std::string> names;
  for (const Family* family : AllFamilies()) names.push_back(family->model_type);
  return names;
}

const Family& FindFamily(std::string_view model_type, std::string_view place) {
  for (const Family* family : AllFamilies()) {
    if (family->model_type == model_type) return *family;
  }
  ThrowUnknownName(place, "model_type", model_type, FamilyNames());
}

std::string LinearName(const Family& family, size_t block, std::string_view linear) {
  return StrCat(family.block_prefix, block, ".", linear);
}

bool HasNull(const Json& object, std::string_view key) {
  auto it = object.find(std::string(key));
  return it != object.end() && it->is_null();
}

}  // namespace qualm
