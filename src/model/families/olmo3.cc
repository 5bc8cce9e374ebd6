// OLMo 3 (model_type "olmo3"): OLMo 2 with windows in three of four blocks, whose rotation is not
// scaled.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  const CommonSizes sizes = ReadSizes(config, {.rounds_head_dim = true});
  const NormParameters norm{.eps = config.Positive("rms_norm_eps", 1e-5)};
  const size_t dims = ReadRotaryDims(config, sizes.head_dim, 1);
  const RotaryPlan global = ReadRotary(config, dims, sizes.context, "full_attention", 500000);
  RotaryPlan local{.dims = dims, .theta = config.Positive("rope_theta", 500000)};
  if (RotaryKey(config) == "rope_parameters") {
    local = ReadRotary(config, dims, sizes.context, "sliding_attention", 500000);
  }

  const size_t window = ReadWindow(config, 4096);
  const std::vector<bool> windowed =
      ReadWindowed(config, sizes.blocks, [](size_t b) { return (b + 1) % 4 != 0; });
  const bool has_bias = config.Bool("attention_bias", false);
  const MlpPlan mlp = GatedMlp(sizes, ReadActivation(config, "hidden_act", "silu"));
  ModelPlan plan = PlainModel(sizes, ReadTied(config, false), norm);
  for (size_t b = 0; b < sizes.blocks; ++b) {
    AttentionPlan attention = PlainAttention(sizes, "self_attn", "self_attn.o_proj");
    attention.rotary = windowed[b] ? local : global;
    attention.window = windowed[b] ? window : 0;
    SetBiases(attention, has_bias, has_bias);
    plan.blocks.push_back(StandardBlock(sizes, attention, mlp, norm));
    SetOlmoNorms(plan.blocks.back());
  }
  MayLackPrefix(plan, "model.");
  return plan;
}

}  // namespace

extern const Family kOlmo3Family;
constinit const Family kOlmo3Family{"olmo3", Plan};

}  // namespace qualm
