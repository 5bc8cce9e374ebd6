// Builds the plan that Gemma 1 to 3 start from.
#include "model/gemma_plan.h"

#include <cmath>

namespace qualm {

// Files may repeat it under Gemma 1's key, which says nothing here.
Activation ReadGemmaActivation(const ConfigReader& config) {
  config.Ignore({"hidden_act"});
  return ReadActivation(config, "hidden_activation", "gelu_pytorch_tanh");
}

ModelPlan GemmaPlan(const ConfigReader& config, const SizeDefaults& defaults, Activation activation,
                    std::string_view layer_type) {
  const CommonSizes sizes = ReadSizes(config, defaults);
  const NormParameters norm{
      .kind = NormKind::kRms, .eps = config.Positive("rms_norm_eps", 1e-6), .weight_offset = 1};
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
  attention.rotary =
      ReadRotary(config, ReadRotaryDims(config, sizes.head_dim, 1), sizes.context, layer_type);

  ModelPlan plan = PlainModel(sizes, ReadTied(config, true), norm);
  plan.embedding.scale = static_cast<float>(std::sqrt(static_cast<double>(sizes.hidden)));
  const MlpPlan mlp = GatedMlp(sizes, activation);
  plan.blocks.assign(sizes.blocks, StandardBlock(sizes, attention, mlp, norm));
  MayLackPrefix(plan, "model.");
  return plan;
}

void SetGemmaNormsAfter(BlockPlan& block) {
  const NormPlan norm = *block.branches[0].norm;
  const auto named = [&](const char* name) {
    NormPlan copy = norm;
    copy.name = name;
    return copy;
  };
  block.branches[0].norm_after = named("post_attention_layernorm");
  block.branches[1].norm = named("pre_feedforward_layernorm");
  block.branches[1].norm_after = named("post_feedforward_layernorm");
}

}  // namespace qualm
