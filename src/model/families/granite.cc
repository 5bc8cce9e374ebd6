// Granite (model_type "granite"): LLaMA with multipliers of the embedding, the scores, the branches
// and the logits.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults.rounds_head_dim = true;
  ModelPlan plan = StandardPlan(config, options);
  plan.embedding.scale = static_cast<float>(config.Positive("embedding_multiplier", 1));
  plan.logit_scale = static_cast<float>(1 / config.Positive("logits_scaling", 1));
  const auto score_scale = static_cast<float>(config.Positive("attention_multiplier", 1));
  const auto branch_scale = static_cast<float>(config.Positive("residual_multiplier", 1));
  const bool attention_bias = config.Bool("attention_bias", false);
  const bool mlp_bias = config.Bool("mlp_bias", false);

  for (BlockPlan& block : plan.blocks) {
    for (Branch& branch : block.branches) branch.output_scale = branch_scale;
    AttentionIn(block).scale = score_scale;
    SetBiases(AttentionIn(block), attention_bias, attention_bias);
    SetBiases(MlpIn(block), mlp_bias);
  }
  return plan;
}

}  // namespace

extern const Family kGraniteFamily;
constinit const Family kGraniteFamily{"granite", Plan};

}  // namespace qualm
