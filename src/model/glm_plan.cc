// Builds the plan that GLM-4 and GLM-4-0414 start from.
#include "model/glm_plan.h"

namespace qualm {

ModelPlan GlmPlan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults = {.context = 131072, .kv_heads = 2, .head_dim = 128};
  options.rms_norm_eps = 1.5625e-7;
  options.rotary_share = 0.5;
  ModelPlan plan = StandardPlan(config, options);

  const bool has_bias = config.Bool("attention_bias", true);
  for (BlockPlan& block : plan.blocks) {
    AttentionPlan& attention = AttentionIn(block);
    attention.rotary->layout = RotaryLayout::kInterleaved;
    SetBiases(attention, has_bias, /*output=*/false);
    StoreOneAfterTheOther(MlpIn(block), "mlp.gate_up_proj");
  }
  return plan;
}

}  // namespace qualm
