// MPT (model_type "mpt"): ALiBi, LayerNorms without bias, one tensor for queries, keys and values,
// and a plain MLP.
#include <bit>

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// As the published code has them: for a number of heads that is not a power of two, every second
// slope of the next power, then the others.
std::vector<float> MptSlopes(size_t heads) {
  const std::vector<float> all = AlibiSlopes(std::bit_ceil(heads));
  if (all.size() == heads) return all;
  std::vector<float> slopes;
  for (size_t i = 1; i < all.size(); i += 2) slopes.push_back(all[i]);
  for (size_t i = 0; i < all.size(); i += 2) slopes.push_back(all[i]);
  slopes.resize(heads);
  return slopes;
}

// Keys of attn_config, most of which say how the writer's own program computes.
void ReadAttention(const ConfigReader& config, AttentionPlan& attention) {
  config.Ignore({"alibi_bias_max", "attn_impl", "attn_pdrop", "attn_uses_sequence_id", "model_type",
                 "is_encoder_decoder", "add_cross_attention", "tie_word_embeddings", "kv_n_heads",
                 "rope", "rope_theta", "rope_impl", "sliding_window_size"});
  config.Require("alibi", true);
  config.RequireText("attn_type", "multihead_attention");
  config.Require("prefix_lm", false);
  config.Require("qk_ln", false);
  if (config.Has("clip_qkv")) {
    attention.clip = static_cast<float>(config.Positive("clip_qkv", 1));
  }
  if (config.Has("softmax_scale")) {
    attention.scale = static_cast<float>(config.Positive("softmax_scale", 1));
  }
}

ModelPlan Plan(const ConfigReader& config) {
  const SizeKeys keys{.hidden = "d_model|hidden_size",
                      .intermediate = "",
                      .blocks = "n_layers|num_hidden_layers",
                      .heads = "n_heads|num_attention_heads",
                      .kv_heads = "",
                      .head_dim = "",
                      .context = "max_seq_len"};
  const CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, keys);
  // In transformers these have no effect: an MLP is four times as wide as the hidden states,
  // positions are not learned, logits not scaled. Biases are used where the file has them.
  config.Ignore({"no_bias", "expansion_ratio", "embedding_fraction", "init_device", "init_config",
                 "learned_pos_emb", "logit_scale", "norm_type", "verbose", "use_norm_bias",
                 "fc_type", "ffn_config", "tokenizer_name"});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};

  AttentionPlan attention = PlainAttention(sizes, "", "attn.out_proj");
  StoreOneAfterTheOther(attention, "attn.Wqkv");
  attention.alibi_slopes = MptSlopes(sizes.heads);
  if (config.HasObject("attn_config")) ReadAttention(config.Inner("attn_config"), attention);
  const MlpPlan mlp = PlainMlp(sizes, Activation::kGeluErf, "ffn.up_proj", "ffn.down_proj");

  ModelPlan plan = PlainModel(sizes, ReadTied(config, true), norm);
  plan.block_prefix = "transformer.blocks.";
  plan.embedding.name = "transformer.wte";
  plan.final_norm->name = "transformer.norm_f";
  BlockPlan block = StandardBlock(sizes, attention, mlp, norm);
  block.branches[0].norm->name = "norm_1";
  block.branches[1].norm->name = "norm_2";
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace

extern const Family kMptFamily;
constinit const Family kMptFamily{"mpt", Plan};

}  // namespace qualm
