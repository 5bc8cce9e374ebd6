// GPT-NeoX and Pythia (model_type "gpt_neox"): LayerNorms with two parallel branches, with
// a norm for each; one tensor with the query, key and value of each head in turn; a part of each
// head rotated.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  SizeKeys keys;
  keys.kv_heads = keys.head_dim = "";
  const CommonSizes sizes = ReadSizes(config, {}, keys);
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_eps", 1e-5)};
  // The rotation's keys have other names: the usual ones mean something in rope_parameters only.
  config.Ignore({"rope_theta", "partial_rotary_factor"});

  AttentionPlan attention = PlainAttention(sizes, "", "attention.dense");
  StoreByKeyHead(attention, "attention.query_key_value");
  const bool has_bias = config.Bool("attention_bias", true);
  SetBiases(attention, has_bias, has_bias);
  attention.rotary =
      ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 0.25, "rotary_pct"), sizes.context,
                 /*layer_type=*/{}, 10000, "rotary_emb_base");
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "hidden_act", "gelu"), "mlp.dense_h_to_4h",
                         "mlp.dense_4h_to_h");
  SetBiases(mlp, true);

  BlockPlan block =
      LayerNormBlock(sizes, attention, mlp, norm, "input_layernorm", "post_attention_layernorm");
  block.branches[1].is_parallel = config.Bool("use_parallel_residual", true);
  ModelPlan plan = GptModel(sizes, ReadTied(config, false), norm, "gpt_neox.");
  plan.block_prefix = "gpt_neox.layers.";
  plan.embedding.name = "gpt_neox.embed_in";
  plan.final_norm->name = "gpt_neox.final_layer_norm";
  plan.head.name = "embed_out";
  plan.renamings.push_back({"lm_head.", "embed_out."});
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "gpt_neox.");
  return plan;
}

}  // namespace

extern const Family kGptNeoxFamily;
constinit const Family kGptNeoxFamily{"gpt_neox", Plan};

}  // namespace qualm
