// Builds the plan that GPT-J and CodeGen start from.
#include "model/gpt_plan.h"

namespace qualm {

ModelPlan GptJPlan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, kGptKeys);
  config.Ignore({"n_ctx", "rotary", "scale_attn_weights"});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};
  AttentionPlan attention = PlainAttention(sizes, "attn", "attn.out_proj");
  attention.rotary =
      RotaryPlan{.dims = config.Size("rotary_dim", 64), .layout = RotaryLayout::kInterleaved};
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "activation_function", "gelu_new"),
                         "mlp.fc_in", "mlp.fc_out");
  SetBiases(mlp, true);

  ModelPlan plan = GptModel(sizes, ReadTied(config, false), norm, "transformer.");
  plan.head.requires_bias = true;
  plan.blocks.assign(sizes.blocks, LayerNormBlock(sizes, attention, mlp, norm, "ln_1", "ln_1",
                                                  /*parallel=*/true));
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace qualm
