// ERNIE 4.5 (model_type "ernie4_5"): LLaMA rotated in neighbouring pairs.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults = {.context = 131072, .kv_heads = 2, .head_dim = 128};
  options.rms_norm_eps = 1e-5;
  options.tied_by_default = true;
  options.rope_theta = 500000;
  ModelPlan plan = StandardPlan(config, options);

  const bool has_bias = config.Bool("use_bias", false);
  for (BlockPlan& block : plan.blocks) {
    AttentionIn(block).rotary->layout = RotaryLayout::kInterleaved;
    SetBiases(AttentionIn(block), has_bias, has_bias);
    SetBiases(MlpIn(block), has_bias);
  }
  return plan;
}

}  // namespace

extern const Family kErnie45Family;
constinit const Family kErnie45Family{"ernie4_5", Plan};

}  // namespace qualm
