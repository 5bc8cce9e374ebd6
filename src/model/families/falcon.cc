// Falcon (model_type "falcon"): 7B with one key head and both branches on one norm; 40B and 180B
// with grouped keys and a norm for each branch; 11B with grouped keys and one norm; RW with ALiBi
// and branches one after the other.

#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// A key that is true where it is missing. Null is neither: the published code takes it for false.
bool IsTrueOrMissing(const ConfigReader& config, std::string_view key) {
  return config.Bool(key, true) && !config.HasNull(key);
}

// How the branches are laid out: names of the norms, and whether they are parallel.
BlockPlan MakeBlock(const ConfigReader& config, const CommonSizes& sizes,
                    const AttentionPlan& attention, const MlpPlan& mlp, const NormParameters& norm,
                    bool is_new) {
  const size_t norms = config.Size("num_ln_in_parallel_attn", is_new ? 2 : 1);
  if (is_new && norms == 2) {
    BlockPlan block = LayerNormBlock(sizes, attention, mlp, norm, "ln_attn", "ln_mlp");
    block.branches[1].is_parallel = true;
    return block;
  }
  const bool is_parallel = IsTrueOrMissing(config, "parallel_attn") || is_new;
  return LayerNormBlock(sizes, attention, mlp, norm, "input_layernorm", "post_attention_layernorm",
                        is_parallel);
}

ModelPlan Plan(const ConfigReader& config) {
  const SizeKeys keys{.hidden = "n_embed|hidden_size",
                      .intermediate = "ffn_hidden_size",
                      .blocks = "num_hidden_layers|n_layer",
                      .heads = "num_attention_heads|n_head",
                      .kv_heads = "",
                      .head_dim = ""};
  CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, keys);
  const bool is_new = config.Bool("new_decoder_architecture", false);
  const bool is_multi_query = IsTrueOrMissing(config, "multi_query");
  const size_t kv_heads = config.Size(FirstKey(config, "num_kv_heads|n_head_kv"), sizes.heads);
  // With the old layout one key head means one, whatever the number says.
  sizes.kv_heads = is_new ? kv_heads : (is_multi_query ? 1 : sizes.heads);
  if (sizes.heads % sizes.kv_heads != 0) {
    config.Refuse("num_kv_heads", StrCat("a divisor of ", sizes.heads), StrCat(sizes.kv_heads));
  }
  config.Require("apply_residual_connection_post_layernorm", false);
  config.Ignore({"ff_factor", "num_ln_in_parallel_attn", "parallel_attn", "rope_theta",
                 "rope_scaling", "rope_parameters"});

  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};
  const bool has_bias = config.Bool("bias", false);
  AttentionPlan attention = PlainAttention(sizes, "", "self_attention.dense");
  StoreByKeyHead(attention, "self_attention.query_key_value");
  SetBiases(attention, has_bias, has_bias);
  if (config.Bool("alibi", false)) {
    attention.alibi_slopes = AlibiSlopes(sizes.heads);
    attention.alibi_in_bfloat16 = true;
  } else {
    attention.rotary = ReadRotary(config, sizes.head_dim, sizes.context);
  }
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "activation", "gelu"), "mlp.dense_h_to_4h",
                         "mlp.dense_4h_to_h");
  SetBiases(mlp, has_bias);

  ModelPlan plan = GptModel(sizes, ReadTied(config, true), norm, "transformer.");
  plan.embedding.name = "transformer.word_embeddings";
  plan.blocks.assign(sizes.blocks, MakeBlock(config, sizes, attention, mlp, norm, is_new));
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace

extern const Family kFalconFamily;
constinit const Family kFalconFamily{"falcon", Plan};

}  // namespace qualm
