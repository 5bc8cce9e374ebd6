// BLOOM (model_type "bloom"): ALiBi, LayerNorms (one of the embedding), one tensor with the query,
// key and value of each head in turn, and a plain MLP. Branches may add to what their norm gave.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// The published code, asked to add up a product in the slices of its training, leaves out the bias.
void RefuseSlicedSums(const ConfigReader& config) {
  if (!config.Bool("slow_but_exact", false) || config.Size("pretraining_tp", 1) == 1) return;
  config.Refuse("slow_but_exact", "false where pretraining_tp is above 1", "true",
                "sums in slices are not supported");
}

ModelPlan Plan(const ConfigReader& config) {
  // An MLP is four times as wide as the hidden states, whatever n_inner says.
  const SizeKeys keys{.hidden = "n_embed|hidden_size|n_embd",
                      .intermediate = "",
                      .blocks = "n_layer|num_hidden_layers",
                      .heads = "num_attention_heads|n_head",
                      .kv_heads = "",
                      .head_dim = "",
                      .context = "seq_length"};
  const CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, keys);
  config.Ignore({"attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion",
                 "n_inner", "offset_alibi", "skip_bias_add", "skip_bias_add_qkv", "hidden_act",
                 "max_position_embeddings"});
  RefuseSlicedSums(config);
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
