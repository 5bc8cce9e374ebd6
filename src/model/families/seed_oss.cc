// Seed-OSS (model_type "seed_oss"): LLaMA with biases on queries, keys and values, and on the other
// layers where keys say so.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults = {.context = 524288, .kv_heads = 8, .head_dim = 128};
  ModelPlan plan = StandardPlan(config, options);

  const bool query_bias = config.Bool("attention_bias", true);
  const bool output_bias = config.Bool("attention_out_bias", false);
  const bool mlp_bias = config.Bool("mlp_bias", false);
  for (BlockPlan& block : plan.blocks) {
    SetBiases(AttentionIn(block), query_bias, output_bias);
    SetBiases(MlpIn(block), mlp_bias);
  }
  return plan;
}

}  // namespace

extern const Family kSeedOssFamily;
constinit const Family kSeedOssFamily{"seed_oss", Plan};

}  // namespace qualm
