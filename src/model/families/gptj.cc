// GPT-J (model_type "gptj"): one LayerNorm feeds attention and a plain MLP in parallel; the first
// values of each head are rotated in neighbouring pairs; the head has a bias.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const SizeKeys keys{.hidden = "n_embd|hidden_size",
                      .intermediate = "n_inner",
                      .blocks = "n_layer|num_hidden_layers",
                      .heads = "n_head|num_attention_heads",
                      .kv_heads = "",
                      .head_dim = "",
                      .context = "n_positions|max_position_embeddings"};
  const CommonSizes sizes = ReadSizes(config, {.intermediate_ratio = 4}, keys);
  config.Ignore({"n_ctx", "rotary", "scale_attn_weights"});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};
  AttentionPlan attention = PlainAttention(sizes, "attn", "attn.out_proj");
  attention.rotary =
      RotaryPlan{.dims = config.Size("rotary_dim", 64), .layout = RotaryLayout::kInterleaved};
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "activation_function", "gelu_new"),
                         "mlp.fc_in", "mlp.fc_out");
  SetBiases(mlp, true);

  ModelPlan plan = GptModel(sizes, ReadTied(config, false), norm, "transformer.");
  plan.head.requires_bias = true;
  plan.blocks.assign(sizes.blocks, LayerNormBlock(sizes, attention, mlp, norm, "ln_1", "ln_1",
                                                  /*parallel=*/true));
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace

extern const Family kGptjFamily;
constinit const Family kGptjFamily{"gptj", Plan};

}  // namespace qualm
