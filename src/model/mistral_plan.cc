// Builds the plan of Mistral and Ministral.
#include "model/mistral_plan.h"

namespace qualm {

ModelPlan MistralPlan(const ConfigReader& config, bool rounds_head_dim) {
  // Missing keys mean the sizes of Mistral 7B.
  StandardOptions options;
  options.defaults.context = 131072;
  options.defaults.kv_heads = 8;
  options.defaults.rounds_head_dim = rounds_head_dim;
  ModelPlan plan = StandardPlan(config, options);
  RequireNoBiases(config);

  // The published default when the key is missing is 4096; an explicit null turns the window off.
  const size_t window = ReadWindow(config, 4096);
  const std::vector<bool> windowed =
      ReadWindowed(config, plan.blocks.size(), [](size_t) { return true; });
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    AttentionIn(plan.blocks[b]).window = windowed[b] ? window : 0;
  }
  return plan;
}

}  // namespace qualm
