// StarCoder2 (model_type "starcoder2"): LLaMA's attention with a window, LayerNorms, a plain MLP,
// and biases everywhere.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.context = 4096, .kv_heads = 2});
  const NormParameters norm{.kind = NormKind::kLayer, .eps = config.Positive("norm_epsilon", 1e-5)};
  config.RequireText("mlp_type", "default");
  config.RequireText("norm_type", "layer_norm");
  config.Require("scale_attn_weights", true);
  // What is left of the first StarCoder's keys.
  config.Ignore({"activation_function", "attention_softmax_in_fp32", "layer_norm_epsilon",
                 "scale_attention_softmax_in_fp32"});

  const bool has_bias = config.Bool("use_bias", true);
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 1), sizes.context);
  attention.window = ReadWindow(config, 0);
  SetBiases(attention, has_bias, has_bias);
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "hidden_act", "gelu_pytorch_tanh"),
                         "mlp.c_fc", "mlp.c_proj");
  SetBiases(mlp, has_bias);

  ModelPlan plan = PlainModel(sizes, ReadTied(config, true), norm);
  BlockPlan block = StandardBlock(sizes, attention, mlp, norm);
  for (Branch& branch : block.branches) branch.norm->has_bias = true;
  plan.final_norm->has_bias = true;
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kStarcoder2Family;
constinit const Family kStarcoder2Family{"starcoder2", Plan};

}  // namespace qualm
