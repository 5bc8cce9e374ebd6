// LLaMA 1 to 3 (model_type "llama"): optional biases by attention_bias and mlp_bias.
#include "model/families/families.h"

namespace qualm {
namespace {

void Complete(const Json& json, std::string_view place, ModelConfig& config) {
  config.qkv_bias = config.o_bias = GetBool(json, "attention_bias", place, false);
  config.mlp_bias = GetBool(json, "mlp_bias", place, false);
}

}  // namespace

const Family& LlamaFamily() {
  static const Family family = StandardFamily("llama", Complete);
  return family;
}

}  // namespace qualm
