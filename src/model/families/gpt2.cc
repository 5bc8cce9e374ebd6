// GPT-2 (model_type "gpt2"): learned positions, LayerNorms, plain MLPs, biases everywhere, and all
// weights stored as [in, out].

#include "model/family.h"
#include "model/gpt_plan.h"

namespace qualm {
namespace {

// A layer by itself that is stored as [in, out].
void StoreTransposed(LinearSite& site) {
  const std::string tensor = site.name;
  site.name += ".rows";
  site.stored = StoredRows{.tensor = tensor, .transposed = true};
}

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.context = 1024, .intermediate_ratio = 4}, kGptKeys);
  config.Ignore({"n_ctx", "reorder_and_upcast_attn"});
  const NormParameters norm{.kind = NormKind::kLayer,
                            .eps = config.Positive("layer_norm_epsilon", 1e-5)};

  AttentionPlan attention = PlainAttention(sizes, "", "attn.c_proj");
  StoreOneAfterTheOther(attention, "attn.c_attn");
  for (LinearSite* site : {&attention.query, &attention.key, &attention.value}) {
    site->stored->transposed = true;
  }
  SetBiases(attention, true, true);
  if (!config.Bool("scale_attn_weights", true)) attention.scale = 1;
  MlpPlan mlp = PlainMlp(sizes, ReadActivation(config, "activation_function", "gelu_new"),
                         "mlp.c_fc", "mlp.c_proj");
  SetBiases(mlp, true);
  for (LinearSite* site : {&attention.output, &mlp.up, &mlp.down}) StoreTransposed(*site);

  ModelPlan plan = GptModel(sizes, ReadTied(config, true), norm, "transformer.");
  plan.positions = TableSite{"transformer.wpe", sizes.context, sizes.hidden};
  plan.blocks.assign(sizes.blocks, LayerNormBlock(sizes, attention, mlp, norm, "ln_1", "ln_2"));
  if (config.Bool("scale_attn_by_inverse_layer_idx", false)) {
    for (size_t b = 0; b < sizes.blocks; ++b) {
      AttentionIn(plan.blocks[b]).scale /= static_cast<float>(b + 1);
    }
  }
  MayLackPrefix(plan, "transformer.");
  return plan;
}

}  // namespace

extern const Family kGpt2Family;
constinit const Family kGpt2Family{"gpt2", Plan};

}  // namespace qualm
