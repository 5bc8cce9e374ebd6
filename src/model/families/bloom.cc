// BLOOM (model_type "bloom"): ALiBi, LayerNorms (one of the embedding), one tensor with the query,
// key and value of each head in turn, and a plain MLP. Branches may add to what their norm gave.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const SizeKeys keys{.hidden = "hidden_size|n_embed|n_embd",
                      .intermediate = "n_inner",
                      .blocks = "n_layer|num_hidden_layers",
                      .heads = "num_attention_heads|n_head",
                      .kv_heads = "",
                      .head_dim = "",
                      .context = "seq_length"};
  const CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, keys);
  config.Ignore({"attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion",
                 "offset_alibi", "skip_bias_add", "skip_bias_add_qkv", "slow_but_exact",
                 "hidden_act", "n_head", "n_embed", "max_position_embeddings", "unk_token_id"});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};

  AttentionPlan attention = PlainAttention(sizes, "", "self_attention.dense");
  StoreByKeyHead(attention, "self_attention.query_key_value");
  SetBiases(attention, true, true);
  attention.alibi_slopes = AlibiSlopes(sizes.heads);
  MlpPlan mlp = PlainMlp(sizes, Activation::kGeluTanh, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h");
  SetBiases(mlp, true);

  BlockPlan block =
      LayerNormBlock(sizes, attention, mlp, norm, "input_layernorm", "post_attention_layernorm");
  const bool adds_to_norm = config.Bool("apply_residual_connection_post_layernorm", false);
  for (Branch& branch : block.branches) branch.adds_to_norm = adds_to_norm;

  ModelPlan plan = GptModel(sizes, ReadTied(config, true), norm, "transformer.");
  plan.embedding.name = "transformer.word_embeddings";
  plan.embedding_norm = NormPlan{"transformer.word_embeddings_layernorm", sizes.hidden, norm,
                                 /*has_bias=*/true};
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace

extern const Family kBloomFamily;
constinit const Family kBloomFamily{"bloom", Plan};

}  // namespace qualm
