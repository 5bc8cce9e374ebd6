// Nemotron (model_type "nemotron"): LayerNorms with weights stored as w - 1, half of each head
// rotated, and a plain MLP with squared relu.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.context = 4096});
  const NormParameters norm{
      .kind = NormKind::kLayer, .eps = config.Positive("norm_eps", 1e-5), .weight_offset = 1};
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 0.5), sizes.context);
  const bool attention_bias = config.Bool("attention_bias", false);
  SetBiases(attention, attention_bias, attention_bias);
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "hidden_act", "relu2"), "mlp.up_proj",
                         "mlp.down_proj");
  SetBiases(mlp, config.Bool("mlp_bias", false));

  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  BlockPlan block = StandardBlock(sizes, attention, mlp, norm);
  for (Branch& branch : block.branches) branch.norm->has_bias = true;
  plan.final_norm->has_bias = true;
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kNemotronFamily;
constinit const Family kNemotronFamily{"nemotron", Plan};

}  // namespace qualm
