// Gemma 3's text model: Gemma 2's block without caps, with norms of queries and keys, and two
// rotations.
#include <cmath>

#include "model/gemma_plan.h"

namespace qualm {
namespace {

// Blocks with a window turn by a separate base, and no scaling: keys at the top level, or a set
// of rotary parameters for each type of block.
void SetRotary(const ConfigReader& config, const std::vector<bool>& windowed, ModelPlan& plan) {
  const size_t dims = AttentionIn(plan.blocks[0]).head_dim;
  RotaryPlan global = ReadRotary(config, dims, plan.context, "full_attention", 1e6);
  RotaryPlan local{.dims = dims, .theta = config.Positive("rope_local_base_freq", 10000)};
  if (config.HasObject("rope_parameters") &&
      config.Inner("rope_parameters").HasObject("sliding_attention")) {
    local = ReadRotary(config, dims, plan.context, "sliding_attention", 10000);
  }
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    AttentionIn(plan.blocks[b]).rotary = windowed[b] ? local : global;
  }
}

}  // namespace

// A cap of null is none. The key of a cap on scores is there and the published code does not use
// it.
ModelPlan Gemma3TextPlan(const ConfigReader& config) {
  // Multimodal files state only the sizes that differ from these.
  const SizeDefaults defaults{.context = 131072,
                              .kv_heads = 4,
                              .head_dim = 256,
                              .hidden = 2304,
                              .intermediate = 9216,
                              .blocks = 26,
                              .heads = 8,
                              .vocab = 262208};
  ModelPlan plan = GemmaPlan(config, defaults, ReadGemmaActivation(config), "full_attention");
  config.Require("use_bidirectional_attention", false);
  config.Ignore({"attn_logit_softcapping"});
  const char* cap = "final_logit_softcapping";
  if (config.Has(cap)) plan.logit_soft_cap = static_cast<float>(config.Positive(cap, 1));

  // Every sixth block sees all positions.
  const size_t pattern = config.Size("sliding_window_pattern", 6);
  config.Ignore({"_sliding_window_pattern"});  // with layer_types, which then decide
  const std::vector<bool> windowed =
      ReadWindowed(config, plan.blocks.size(), [&](size_t b) { return (b + 1) % pattern != 0; });
  const size_t window = ReadWindow(config, 4096);
  const double query_scale = config.Positive("query_pre_attn_scalar", 256);
  const bool has_bias = config.Bool("attention_bias", false);
  const NormParameters norm = plan.final_norm->parameters;

  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    SetGemmaNormsAfter(plan.blocks[b]);
    AttentionPlan& attention = AttentionIn(plan.blocks[b]);
    attention.scale = static_cast<float>(1 / std::sqrt(query_scale));
    attention.window = windowed[b] ? window : 0;
    attention.norms = QueryKeyNorms{NormPlan{"self_attn.q_norm", attention.head_dim, norm},
                                    NormPlan{"self_attn.k_norm", attention.head_dim, norm}};
    SetBiases(attention, has_bias, has_bias);
  }
  SetRotary(config, windowed, plan);
  return plan;
}

}  // namespace qualm
