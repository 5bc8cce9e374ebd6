// InternLM3 (model_type "internlm3"): LLaMA whose biases are under other keys.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults = {.context = 32768, .kv_heads = 2, .head_dim = 128};
  options.rms_norm_eps = 1e-5;
  ModelPlan plan = StandardPlan(config, options);

  // In the published code `bias` is that of the output layer and the MLP.
  const bool query_bias = config.Bool(FirstKey(config, "qkv_bias|attention_bias"), false);
  const bool other_bias = config.Bool(FirstKey(config, "bias|mlp_bias"), false);
  for (BlockPlan& block : plan.blocks) {
    SetBiases(AttentionIn(block), query_bias, other_bias);
    SetBiases(MlpIn(block), other_bias);
  }
  return plan;
}

}  // namespace

extern const Family kInternlm3Family;
constinit const Family kInternlm3Family{"internlm3", Plan};

}  // namespace qualm
