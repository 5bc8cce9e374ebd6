// Qwen3 (model_type "qwen3"): LLaMA with an RMS norm of each head of queries and keys, and Qwen2's
// windows.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults = {.context = 32768, .head_dim = 128};
  ModelPlan plan = StandardPlan(config, options);

  const bool has_bias = config.Bool("attention_bias", false);
  const NormParameters norm = plan.final_norm->parameters;
  for (BlockPlan& block : plan.blocks) {
    AttentionPlan& attention = AttentionIn(block);
    SetBiases(attention, has_bias, has_bias);
    attention.norms = QueryKeyNorms{NormPlan{"self_attn.q_norm", attention.head_dim, norm},
                                    NormPlan{"self_attn.k_norm", attention.head_dim, norm}};
  }
  SetQwenWindows(config, plan);
  return plan;
}

}  // namespace

extern const Family kQwen3Family;
constinit const Family kQwen3Family{"qwen3", Plan};

}  // namespace qualm
