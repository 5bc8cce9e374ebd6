// OLMo 2 (model_type "olmo2"): LLaMA with norms after the branches only, and norms of all queries
// and all keys of a token.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults.rounds_head_dim = true;
  options.rms_norm_eps = 1e-5;
  ModelPlan plan = StandardPlan(config, options);
  const bool has_bias = config.Bool("attention_bias", false);
  for (BlockPlan& block : plan.blocks) {
    SetBiases(AttentionIn(block), has_bias, has_bias);
    SetOlmoNorms(block);
  }
  return plan;
}

}  // namespace

extern const Family kOlmo2Family;
constinit const Family kOlmo2Family{"olmo2", Plan};

}  // namespace qualm
