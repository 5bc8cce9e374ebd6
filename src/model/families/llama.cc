// LLaMA 1 to 3 (model_type "llama"): the standard block, with the biases that attention_bias and
// mlp_bias ask for.
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  // Reading the activation refuses any other than silu, which the standard block has.
  ReadActivation(config, "hidden_act", "silu", {{"silu", Activation::kSilu}});
  ModelPlan plan = StandardPlan(config, {});
  const bool attention_bias = config.Bool("attention_bias", false);
  const bool mlp_bias = config.Bool("mlp_bias", false);

  for (BlockPlan& block : plan.blocks) {
    AttentionPlan& attention = AttentionIn(block);
    for (LinearSite* site :
         {&attention.query, &attention.key, &attention.value, &attention.output}) {
      site->requires_bias = attention_bias;
    }
    MlpPlan& mlp = MlpIn(block);
    for (LinearSite* site : {&*mlp.gate, &mlp.up, &mlp.down}) site->requires_bias = mlp_bias;
  }
  return plan;
}

}  // namespace

extern const Family kLlamaFamily;
constinit const Family kLlamaFamily{"llama", Plan};

}  // namespace qualm
