// Phi 1, 1.5 and 2 (model_type "phi"): one LayerNorm feeds an attention and a plain MLP that run in
// parallel. Linear layers, norms and head have biases, and only a part of each head is rotated.
#include <cmath>

#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// How many values of a head are rotated. Newer files put the share with the other rotary keys.
size_t ReadRotaryDims(const ConfigReader& config, size_t head_dim) {
  const char* key = "partial_rotary_factor";
  const bool is_newer = config.Has("rope_parameters") && config.Inner("rope_parameters").Has(key);
  const double factor =
      is_newer ? config.Inner("rope_parameters").Positive(key, 0.5) : config.Positive(key, 0.5);

  const double dims = std::floor(factor * static_cast<double>(head_dim));
  if (factor > 1 || dims < 2 || std::fmod(dims, 2) != 0) {
    config.Refuse(key, StrCat("a share of head_dim ", head_dim, " that is an even number"),
                  StrCat(factor));
  }
  return static_cast<size_t>(dims);
}

ModelPlan Plan(const ConfigReader& config) {
  const Activation activation =
      ReadActivation(config, "hidden_act", "gelu_new", {{"gelu_new", Activation::kGeluTanh}});
  const CommonSizes sizes = ReadSizes(config, {});
  if (config.Bool("qk_layernorm", false)) {
    config.Refuse("qk_layernorm", "false", "true", "norms of queries and keys are not supported");
  }

  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_eps", 1e-5)};

  // The linear layers, all with biases.
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.dense");
  attention.rotary = ReadRotary(config, ReadRotaryDims(config, sizes.head_dim));
  MlpPlan mlp;
  mlp.activation = activation;
  mlp.up = {"mlp.fc1", SiteRole::kUp, sizes.intermediate, sizes.hidden};
  mlp.down = {"mlp.fc2", SiteRole::kDown, sizes.hidden, sizes.intermediate};
  for (LinearSite* site : {&attention.query, &attention.key, &attention.value, &attention.output,
                           &mlp.up, &mlp.down}) {
    site->requires_bias = true;
  }

  // Both branches name the same norm, so they share its output.
  BlockPlan block;
  block.branches.resize(2);
  block.branches[0].norm = NormPlan{"input_layernorm", sizes.hidden, norm, /*has_bias=*/true};
  block.branches[0].part = attention;
  block.branches[1].norm = block.branches[0].norm;
  block.branches[1].part = mlp;
  block.branches[1].is_parallel = true;

  // The last norm has another name than LLaMA's, and the head a bias.
  ModelPlan plan = PlainModel(sizes, config.Bool("tie_word_embeddings", false), norm);
  plan.final_norm = NormPlan{"model.final_layernorm", sizes.hidden, norm, /*has_bias=*/true};
  plan.head.requires_bias = true;
  plan.blocks.assign(sizes.blocks, block);
  return plan;
}

}  // namespace

extern const Family kPhiFamily;
constinit const Family kPhiFamily{"phi", Plan};

}  // namespace qualm
