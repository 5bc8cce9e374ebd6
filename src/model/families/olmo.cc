// OLMo 1 (model_type "olmo"): LLaMA with LayerNorms that have no tensors, and queries, keys and
// values that may be clamped.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.rounds_head_dim = true});
  // The eps is not a key of the configuration.
  const NormParameters norm{.kind = NormKind::kLayer, .eps = 1e-5};
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 1), sizes.context);
  const bool has_bias = config.Bool("attention_bias", false);
  SetBiases(attention, has_bias, has_bias);
  if (config.Has("clip_qkv")) {
    attention.clip = static_cast<float>(config.Positive("clip_qkv", 1));
  }

  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  BlockPlan block = StandardBlock(
      sizes, attention, GatedMlp(sizes, ReadActivation(config, "hidden_act", "silu")), norm);
  for (Branch& branch : block.branches) branch.norm->has_weight = false;
  plan.final_norm->has_weight = false;
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kOlmoFamily;
constinit const Family kOlmoFamily{"olmo", Plan};

}  // namespace qualm
