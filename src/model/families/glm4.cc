// GLM-4-0414 (model_type "glm4"): GLM with norms after the branches as well.

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
  const NormParameters norm = plan.final_norm->parameters;
  for (BlockPlan& block : plan.blocks) {
    AttentionPlan& attention = AttentionIn(block);
    attention.rotary->layout = RotaryLayout::kInterleaved;
    SetBiases(attention, has_bias, /*output=*/false);
    StoreOneAfterTheOther(MlpIn(block), "mlp.gate_up_proj");
    block.branches[0].norm_after = NormPlan{"post_self_attn_layernorm", plan.hidden_size, norm};
    block.branches[1].norm_after = NormPlan{"post_mlp_layernorm", plan.hidden_size, norm};
  }
  return plan;
}

}  // namespace

extern const Family kGlm4Family;
constinit const Family kGlm4Family{"glm4", Plan};

}  // namespace qualm
