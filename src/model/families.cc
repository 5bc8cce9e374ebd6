#include <array>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "model/families/families.h"

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
       {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
       "input_layernorm",
       ""},
      {"attention_output", {"self_attn.o_proj"}, "", "self_attn.v_proj"},
      {"mlp_input", {"mlp.gate_proj", "mlp.up_proj"}, "post_attention_layernorm", ""},
      {"mlp_output", {"mlp.down_proj"}, "", "mlp.up_proj"},
  };
  family.complete_config = complete_config;
  return family;
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
