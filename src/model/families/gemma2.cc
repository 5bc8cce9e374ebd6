// Gemma 2 (model_type "gemma2"): norms before and after each branch with weights stored as w - 1,
// soft caps on scores and logits, a sliding window in every second block, and scaled embeddings
// that also serve as the head.
#include <cmath>

#include "model/family.h"
#include "model/gemma_plan.h"

namespace qualm {
namespace {

// A cap of null turns it off.
float ReadCap(const ConfigReader& config, std::string_view key, double fallback) {
  return config.HasNull(key) ? 0.0f : static_cast<float>(config.Positive(key, fallback));
}

ModelPlan Plan(const ConfigReader& config) {
  // LLaMA's shape with the defaults that Gemma 2's configurations leave out.
  ModelPlan plan = GemmaPlan(config, {.context = 8192, .kv_heads = 4, .head_dim = 256},
                             ReadGemmaActivation(config));
  plan.logit_soft_cap = ReadCap(config, "final_logit_softcapping", 30);

  const bool has_bias = config.Bool("attention_bias", false);
  const double query_scale = config.Positive("query_pre_attn_scalar", 256);
  const float score_cap = ReadCap(config, "attn_logit_softcapping", 50);
  const size_t window = ReadWindow(config, 4096);
  const std::vector<bool> windowed =
      ReadWindowed(config, plan.blocks.size(), [](size_t b) { return b % 2 == 0; });
  config.Require("use_bidirectional_attention", false);
  config.Ignore({"sliding_window_size"});  // an older name of the window, next to its key
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    SetGemmaNormsAfter(plan.blocks[b]);
    AttentionPlan& attention = AttentionIn(plan.blocks[b]);
    attention.scale = static_cast<float>(1 / std::sqrt(query_scale));
    attention.soft_cap = score_cap;
    attention.window = windowed[b] ? window : 0;
    SetBiases(attention, has_bias, has_bias);
  }
  return plan;
}

}  // namespace

extern const Family kGemma2Family;
constinit const Family kGemma2Family{"gemma2", Plan};

}  // namespace qualm
