// Builds the plan that Gemma 1 to 3 start from.
#include "model/gemma_plan.h"

#include <cmath>

namespace qualm {
namespace {

// Newer files repeat the activation under a second key, which then decides and is meant literally.
// Under the first one "gelu" has always meant the tanh form.
Activation ReadGemmaActivation(const ConfigReader& config) {
  config.Ignore({"hidden_act"});
  if (config.Has("hidden_activation")) {
    return ReadActivation(config, "hidden_activation", "gelu_pytorch_tanh");
  }
  const Activation activation = ReadActivation(config, "hidden_act", "gelu_pytorch_tanh");
  return activation == Activation::kGeluErf ? Activation::kGeluTanh : activation;
}

}  // namespace

ModelPlan GemmaPlan(const ConfigReader& config, const SizeDefaults& defaults) {
  const CommonSizes sizes = ReadSizes(config, defaults);
  const NormParameters norm{
      .kind = NormKind::kRms, .eps = config.Positive("rms_norm_eps", 1e-6), .weight_offset = 1};
  AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");

  ModelPlan plan = PlainModel(sizes, ReadTied(config, true), norm);
  plan.embedding.scale = static_cast<float>(std::sqrt(static_cast<double>(sizes.hidden)));
  const MlpPlan mlp = GatedMlp(sizes, ReadGemmaActivation(config));
  plan.blocks.assign(sizes.blocks, StandardBlock(sizes, attention, mlp, norm));
  MayLackPrefix(plan, "model.");
  return plan;
}

void SetOneRotary(const ConfigReader& config, ModelPlan& plan) {
  const size_t dims = ReadRotaryDims(config, AttentionIn(plan.blocks[0]).head_dim, 1);
  const RotaryPlan rotary = ReadRotary(config, dims, plan.context);
  for (BlockPlan& block : plan.blocks) AttentionIn(block).rotary = rotary;
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
