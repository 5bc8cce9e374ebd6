// GLM-4 in transformers (model_type "glm"): LLaMA with half of each head rotated in neighbouring
// pairs, biases on queries, keys and values, and gate and up in one tensor.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
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

}  // namespace

extern const Family kGlmFamily;
constinit const Family kGlmFamily{"glm", Plan};

}  // namespace qualm
