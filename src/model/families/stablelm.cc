// StableLM (model_type "stablelm"): LLaMA with LayerNorms and a quarter of each head rotated; in
// the 12B model branches in parallel and norms of each head of queries and keys.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// Norms without bias, whose weights are stored head by head.
NormPlan HeadNorm(const std::string& name, size_t heads, size_t head_dim,
                  const NormParameters& parameters) {
  NormPlan norm{name, head_dim, parameters};
  norm.groups = heads;
  norm.stored_by_group = name + ".norms.";
  return norm;
}

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.context = 4096});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_eps", 1e-5)};
  // What is left of the keys that the family had before transformers knew it.
  config.Ignore({"norm_eps", "rotary_scaling_factor"});
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  const std::string_view share = FirstKey(config, "partial_rotary_factor|rope_pct");
  attention.rotary =
      ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 0.25, share), sizes.context);
  SetBiases(attention, config.Bool("use_qkv_bias", false), /*output=*/false);
  if (config.Bool("qk_layernorm", false)) {
    attention.norms =
        QueryKeyNorms{HeadNorm("self_attn.q_layernorm", sizes.heads, sizes.head_dim, norm),
                      HeadNorm("self_attn.k_layernorm", sizes.kv_heads, sizes.head_dim, norm)};
  }

  BlockPlan block = StandardBlock(
      sizes, attention, GatedMlp(sizes, ReadActivation(config, "hidden_act", "silu")), norm);
  if (config.Bool("use_parallel_residual", false)) {
    block.branches[1].norm = block.branches[0].norm;
    block.branches[1].is_parallel = true;
  }
  for (Branch& branch : block.branches) branch.norm->has_bias = true;
  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  plan.final_norm->has_bias = true;
  plan.blocks.assign(sizes.blocks, block);
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kStablelmFamily;
constinit const Family kStablelmFamily{"stablelm", Plan};

}  // namespace qualm
