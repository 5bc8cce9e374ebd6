// Builds the plan that Command R and Command R7B start from.
#include "model/cohere_plan.h"

namespace qualm {

ModelPlan CoherePlan(const ConfigReader& config, double rope_theta) {
  const CommonSizes sizes = ReadSizes(config, {.context = 8192});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_eps", 1e-5)};
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 1), sizes.context,
                                /*layer_type=*/{}, rope_theta);
  attention.rotary->layout = RotaryLayout::kInterleaved;
  const bool has_bias = config.Bool("attention_bias", false);
  SetBiases(attention, has_bias, has_bias);

  // Each head has its weights.
  if (config.Bool("use_qk_norm", false)) {
    NormPlan query{"self_attn.q_norm", sizes.head_dim, norm};
    NormPlan key{"self_attn.k_norm", sizes.head_dim, norm};
    query.groups = sizes.heads;
    key.groups = sizes.kv_heads;
    attention.norms = QueryKeyNorms{query, key};
  }

  // Both branches name the same norm, so they share its output.
  ModelPlan plan = PlainModel(sizes, ReadTied(config, true), norm);
  BlockPlan block = StandardBlock(
      sizes, attention, GatedMlp(sizes, ReadActivation(config, "hidden_act", "silu")), norm);
  block.branches[1].norm = block.branches[0].norm;
  block.branches[1].is_parallel = true;
  plan.blocks.assign(sizes.blocks, block);
  plan.logit_scale = static_cast<float>(config.Positive("logit_scale", 0.0625));
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace qualm
