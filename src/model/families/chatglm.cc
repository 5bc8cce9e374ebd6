// ChatGLM2, ChatGLM3 and GLM-4 in their own code (model_type "chatglm"): RMS norms, a fused tensor
// for queries, keys and values, as a rule with few key heads, half of each head rotated in
// neighbouring pairs, and gate and up in one tensor.

#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

CommonSizes ReadChatGlmSizes(const ConfigReader& config) {
  SizeKeys keys;
  keys.intermediate = "ffn_hidden_size";
  keys.blocks = "num_layers|num_hidden_layers";
  keys.kv_heads = "";
  keys.head_dim = "kv_channels";
  keys.vocab = "padded_vocab_size|vocab_size";
  keys.context = "seq_length";
  CommonSizes sizes = ReadSizes(config, {.head_dim = 128}, keys);

  // Without multi-query attention every head has its own key.
  const size_t groups = config.Size("multi_query_group_num", 1);
  if (!config.Bool("multi_query_attention", false)) return sizes;
  if (sizes.heads % groups != 0) {
    config.Refuse("multi_query_group_num", StrCat("a divisor of ", sizes.heads), StrCat(groups));
  }
  sizes.kv_heads = groups;
  return sizes;
}

// Norms before the branches, which may add to what the norm gave.
BlockPlan MakeBlock(const ConfigReader& config, const CommonSizes& sizes,
                    const AttentionPlan& attention, const MlpPlan& mlp, const NormPlan& norm) {
  BlockPlan block = StandardBlock(sizes, attention, mlp, norm.parameters);
  const bool adds_to_norm = config.Bool("apply_residual_connection_post_layernorm", false);
  for (Branch& branch : block.branches) {
    branch.norm->has_bias = norm.has_bias;
    branch.adds_to_norm = adds_to_norm;
  }
  return block;
}

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadChatGlmSizes(config);
  // How the published code computes, in what order and precision.
  config.Ignore({"apply_query_key_layer_scaling", "attention_softmax_in_fp32",
                 "bias_dropout_fusion", "fp32_residual_connection", "original_rope", "pre_seq_len",
                 "prefix_projection", "quantization_bit", "interleaved_qkv", "rope_theta",
                 "rotary_percent"});
  const bool is_rms = config.Bool("rmsnorm", true);
  const NormPlan norm{"transformer.encoder.final_layernorm",
                      sizes.hidden,
                      {.kind = is_rms ? NormKind::kRms : NormKind::kLayer,
                       .eps = config.Positive("layernorm_epsilon", 1e-5)},
                      /*has_bias=*/!is_rms};
  const bool has_biases = config.Bool("add_bias_linear", false);

  AttentionPlan attention = PlainAttention(sizes, "", "self_attention.dense");
  if (config.Bool("multi_query_attention", false)) {
    StoreOneAfterTheOther(attention, "self_attention.query_key_value");
  } else {
    StoreByKeyHead(attention, "self_attention.query_key_value");
  }
  const bool has_qkv_biases = config.Bool("add_qkv_bias", false) || has_biases;
  SetBiases(attention, has_qkv_biases, has_biases);
  attention.rotary = RotaryPlan{.dims = sizes.head_dim / 2,
                                .layout = RotaryLayout::kInterleaved,
                                .theta = 10000 * config.Positive("rope_ratio", 1)};

  MlpPlan mlp = PlainMlp(sizes, Activation::kSilu, "", "mlp.dense_4h_to_h");
  mlp.gate = LinearSite{"", SiteRole::kGate, sizes.intermediate, sizes.hidden};
  StoreOneAfterTheOther(mlp, "mlp.dense_h_to_4h");
  SetBiases(mlp, has_biases);

  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm.parameters);
  plan.block_prefix = "transformer.encoder.layers.";
  plan.embedding.name = "transformer.embedding.word_embeddings";
  plan.head.name = "transformer.output_layer";
  plan.final_norm.reset();
  if (config.Bool("post_layer_norm", true)) plan.final_norm = norm;
  plan.blocks.assign(sizes.blocks, MakeBlock(config, sizes, attention, mlp, norm));
  plan.unread_tensors.emplace_back("*rotary_pos_emb.inv_freq");
  MayLackPrefix(plan, "transformer.");
  plan.renamings.push_back({"output_layer.", plan.head.name + "."});
  return plan;
}

}  // namespace

extern const Family kChatglmFamily;
constinit const Family kChatglmFamily{"chatglm", Plan};

}  // namespace qualm
