// Ministral (model_type "ministral"): Mistral with windows in the blocks that layer_types names, or
// in every one.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults.context = 131072;
  options.defaults.kv_heads = 8;
  ModelPlan plan = StandardPlan(config, options);
  RequireNoBiases(config);

  const size_t window = ReadWindow(config, 4096);
  const std::vector<bool> windowed =
      ReadWindowed(config, plan.blocks.size(), [](size_t) { return true; });
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    AttentionIn(plan.blocks[b]).window = windowed[b] ? window : 0;
  }
  return plan;
}

}  // namespace

extern const Family kMinistralFamily;
constinit const Family kMinistralFamily{"ministral", Plan};

}  // namespace qualm
