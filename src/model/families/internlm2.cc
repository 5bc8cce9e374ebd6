// InternLM2 (model_type "internlm2"): LLaMA with other names and one tensor for queries, keys
// and values, by key heads.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {});
  const NormParameters norm{.eps = config.Positive("rms_norm_eps", 1e-6)};
  const bool has_bias = config.Bool("bias", false);
  config.Ignore({"attn_implementation"});

  AttentionPlan attention = PlainAttention(sizes, "", "attention.wo");
  StoreByKeyHead(attention, "attention.wqkv");
  SetBiases(attention, has_bias, has_bias);
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 1), sizes.context);

  const Activation activation = ReadActivation(config, "hidden_act", "silu");
  MlpPlan mlp = PlainMlp(sizes, activation, "feed_forward.w3", "feed_forward.w2");
  mlp.gate = LinearSite{"feed_forward.w1", SiteRole::kGate, sizes.intermediate, sizes.hidden};

  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  plan.embedding.name = "model.tok_embeddings";
  plan.head.name = "output";
  BlockPlan block = StandardBlock(sizes, attention, mlp, norm);
  block.branches[0].norm->name = "attention_norm";
  block.branches[1].norm->name = "ffn_norm";
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kInternlm2Family;
constinit const Family kInternlm2Family{"internlm2", Plan};

}  // namespace qualm
