// SmolLM3 (model_type "smollm3"): LLaMA without rotation in every fourth block.

#include <algorithm>

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults = {.context = 32768, .kv_heads = 4, .rounds_head_dim = true};
  options.tied_by_default = true;
  options.rope_theta = 2e6;
  ModelPlan plan = StandardPlan(config, options);
  const size_t blocks = plan.blocks.size();

  // 1 stands for a block with rotation; a list may be longer than needed.
  const char* key = "no_rope_layers";
  std::vector<int64_t> rotated = config.Ints(key, std::max(blocks, config.LengthOf(key)));
  const size_t interval = config.Size("no_rope_layer_interval", 4);
  for (size_t b = rotated.size(); b < blocks; ++b) rotated.push_back((b + 1) % interval != 0);

  const bool uses_window = config.Bool("use_sliding_window", false);
  const size_t window = ReadWindow(config, 0);
  config.Ignore({"max_window_layers"});
  const std::vector<bool> windowed =
      ReadWindowed(config, blocks, [&](size_t b) { return uses_window && rotated[b] == 0; });
  const bool attention_bias = config.Bool("attention_bias", false);
  const bool mlp_bias = config.Bool("mlp_bias", false);
  for (size_t b = 0; b < blocks; ++b) {
    AttentionPlan& attention = AttentionIn(plan.blocks[b]);
    if (rotated[b] == 0) attention.rotary.reset();
    attention.window = windowed[b] ? window : 0;
    SetBiases(attention, attention_bias, attention_bias);
    SetBiases(MlpIn(plan.blocks[b]), mlp_bias);
  }
  return plan;
}

}  // namespace

extern const Family kSmollm3Family;
constinit const Family kSmollm3Family{"smollm3", Plan};

}  // namespace qualm
