// LLaMA 1 to 3 (model_type "llama"): the standard block, with the biases that attention_bias and
// mlp_bias ask for.
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  ModelPlan plan = StandardPlan(config, {});
  config.Require("rope_interleaved", false);
  config.Ignore({"is_llama_config"});
  const bool attention_bias = config.Bool("attention_bias", false);
  const bool mlp_bias = config.Bool("mlp_bias", false);

  for (BlockPlan& block : plan.blocks) {
    SetBiases(AttentionIn(block), attention_bias, attention_bias);
    SetBiases(MlpIn(block), mlp_bias);
  }
  return plan;
}

}  // namespace

extern const Family kLlamaFamily;
constinit const Family kLlamaFamily{"llama", Plan};

}  // namespace qualm
