// OPT (model_type "opt"): learned positions from row 2 on, LayerNorms before the branches, or after
// the sums (350m), plain MLPs, and an embedding that may be narrower than the hidden states.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

BlockPlan MakeBlock(const CommonSizes& sizes, const AttentionPlan& attention, const MlpPlan& mlp,
                    const NormPlan& norm, bool is_before) {
  BlockPlan block = StandardBlock(sizes, attention, mlp, norm.parameters);
  const char* names[] = {"self_attn_layer_norm", "final_layer_norm"};
  for (size_t b = 0; b < block.branches.size(); ++b) {
    NormPlan named = norm;
    named.name = names[b];
    block.branches[b].norm.reset();
    (is_before ? block.branches[b].norm : block.branches[b].norm_of_sum) = named;
  }
  return block;
}

// An embedding of another width, and the layers between it and the hidden states.
void SetProjections(const ConfigReader& config, ModelPlan& plan) {
  const size_t width = config.Size("word_embed_proj_dim", plan.hidden_size);
  if (width == plan.hidden_size) return;
  plan.embedding.width = plan.head.in = width;
  plan.project_in =
      LinearSite{"model.decoder.project_in", SiteRole::kHead, plan.hidden_size, width};
  plan.project_out =
      LinearSite{"model.decoder.project_out", SiteRole::kHead, width, plan.hidden_size};
}

ModelPlan Plan(const ConfigReader& config) {
  const SizeKeys keys{.intermediate = "ffn_dim", .kv_heads = "", .head_dim = ""};
  const CommonSizes sizes = ReadSizes(config, {}, keys);
  config.Ignore({"layer_norm_eps"});
  // Galactica's files say so of what all these models do.
  config.Require("learned_embeddings", true);
  config.Require("scale_embeddings", false);
  // The eps is not a key of the configuration.
  NormPlan norm{"", sizes.hidden, {.kind = NormKind::kLayer, .eps = 1e-5}};
  norm.has_weight = norm.has_bias = config.Bool("layer_norm_elementwise_affine", true);
  const bool is_before = config.Bool("do_layer_norm_before", true);

  const bool has_bias = config.Bool("enable_bias", true);
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.out_proj");
  SetBiases(attention, has_bias, has_bias);
  MlpPlan mlp =
      PlainMlp(sizes, ReadActivation(config, "activation_function", "relu"), "fc1", "fc2");
  SetBiases(mlp, has_bias);

  ModelPlan plan = PlainModel(sizes, ReadTied(config, true), norm.parameters);
  plan.block_prefix = "model.decoder.layers.";
  plan.embedding.name = "model.decoder.embed_tokens";
  // The first rows of the table belong to padding.
  plan.position_offset = 2;
  plan.positions = TableSite{"model.decoder.embed_positions", sizes.context + plan.position_offset,
                             sizes.hidden};
  plan.final_norm.reset();
  if (is_before && !config.Bool("_remove_final_layer_norm", false)) {
    plan.final_norm = norm;
    plan.final_norm->name = "model.decoder.final_layer_norm";
  }
  config.Ignore({"_remove_final_layer_norm"});
  SetProjections(config, plan);
  plan.blocks.assign(sizes.blocks, MakeBlock(sizes, attention, mlp, norm, is_before));
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kOptFamily;
constinit const Family kOptFamily{"opt", Plan};

}  // namespace qualm
