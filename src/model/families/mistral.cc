// Mistral (model_type "mistral"): LLaMA with a sliding attention window in every block, or in those
// that layer_types names.
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  // Missing keys mean the sizes of Mistral 7B.
  StandardOptions options;
  options.defaults.context = 131072;
  options.defaults.kv_heads = 8;
  options.defaults.rounds_head_dim = true;
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

}  // namespace

extern const Family kMistralFamily;
constinit const Family kMistralFamily{"mistral", Plan};

}  // namespace qualm
