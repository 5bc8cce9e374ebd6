// Phi 3, 3.5 and 4 (model_type "phi3"): LLaMA with fused tensors, a window in every block, and
// LongRoPE over the head or a part of it.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults.context = 4096;
  options.defaults.rounds_head_dim = true;
  // The key at the top level decides, with this for its default.
  options.original_context = 4096;
  options.rms_norm_eps = 1e-5;
  ModelPlan plan = StandardPlan(config, options);
  // Published files have the last two, and the library does not read them.
  config.Ignore({"original_max_position_embeddings", "interpolate_factor", "full_attn_mod"});
  config.Require("lm_head_bias", false);
  RequireNoBiases(config);

  const size_t window = ReadWindow(config, 0);
  for (BlockPlan& block : plan.blocks) {
    AttentionIn(block).window = window;
    StoreOneAfterTheOther(AttentionIn(block), "self_attn.qkv_proj");
    StoreOneAfterTheOther(MlpIn(block), "mlp.gate_up_proj");
  }
  return plan;
}

}  // namespace

extern const Family kPhi3Family;
constinit const Family kPhi3Family{"phi3", Plan};

}  // namespace qualm
