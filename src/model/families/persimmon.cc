// Persimmon (model_type "persimmon"): LayerNorms, one tensor with the query, key and value of each
// head in turn, norms of queries and keys, half of each head rotated, and a plain MLP with squared
// relu.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  SizeKeys keys;
  keys.kv_heads = keys.head_dim = "";
  const CommonSizes sizes = ReadSizes(config, {.context = 16384}, keys);
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_eps", 1e-5)};
  AttentionPlan attention = PlainAttention(sizes, "", "self_attn.dense");
  StoreByKeyHead(attention, "self_attn.query_key_value");
  SetBiases(attention, true, true);
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 0.5), sizes.context);
  if (config.Bool("qk_layernorm", true)) {
    attention.norms =
        QueryKeyNorms{NormPlan{"self_attn.q_layernorm", sizes.head_dim, norm, /*has_bias=*/true},
                      NormPlan{"self_attn.k_layernorm", sizes.head_dim, norm, /*has_bias=*/true}};
  }
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "hidden_act", "relu2"), "mlp.dense_h_to_4h",
                         "mlp.dense_4h_to_h");
  SetBiases(mlp, true);

  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  plan.final_norm = NormPlan{"model.final_layernorm", sizes.hidden, norm, /*has_bias=*/true};
  BlockPlan block = StandardBlock(sizes, attention, mlp, norm);
  for (Branch& branch : block.branches) branch.norm->has_bias = true;
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kPersimmonFamily;
constinit const Family kPersimmonFamily{"persimmon", Plan};

}  // namespace qualm
