// Phi 1, 1.5 and 2 (model_type "phi"): one LayerNorm feeds an attention and a plain MLP that run in
// parallel. Linear layers, norms and head have biases, and only a part of each head is rotated.
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.rounds_head_dim = true});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_eps", 1e-5)};

  // The linear layers, all with biases.
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.dense");
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 0.5), sizes.context);
  SetBiases(attention, /*query_key_value=*/true, /*output=*/true);
  if (config.Bool("qk_layernorm", false)) {
    attention.norms =
        QueryKeyNorms{NormPlan{"self_attn.q_layernorm", sizes.head_dim, norm, /*has_bias=*/true},
                      NormPlan{"self_attn.k_layernorm", sizes.head_dim, norm, /*has_bias=*/true}};
  }
  MlpPlan mlp =
      PlainMlp(sizes, ReadActivation(config, "hidden_act", "gelu_new"), "mlp.fc1", "mlp.fc2");
  SetBiases(mlp, true);

  // Both branches name the same norm, so they share its output.
  BlockPlan block;
  block.branches.resize(2);
  block.branches[0].norm = NormPlan{"input_layernorm", sizes.hidden, norm, /*has_bias=*/true};
  block.branches[0].part = attention;
  block.branches[1].norm = block.branches[0].norm;
  block.branches[1].part = mlp;
  block.branches[1].is_parallel = true;

  // The last norm has another name than LLaMA's, and the head a bias.
  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  plan.final_norm = NormPlan{"model.final_layernorm", sizes.hidden, norm, /*has_bias=*/true};
  plan.head.requires_bias = true;
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kPhiFamily;
constinit const Family kPhiFamily{"phi", Plan};

}  // namespace qualm
