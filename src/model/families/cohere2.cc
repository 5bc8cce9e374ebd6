// Command R7B and A (model_type "cohere2"): Cohere's block with windows in three of four blocks;
// the others have no rotation.

#include "model/cohere_plan.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// Keys of the writer's own code that say what the family is.
void RequireKnownForm(const ConfigReader& config) {
  config.RequireText("order_of_interleaved_layers", "local_attn_first");
  config.RequireText("position_embedding_type", "rope_gptj");
  config.Require("use_embedding_sharing", true);
  config.Require("use_gated_activation", true);
  config.Require("use_parallel_block", true);
  config.Ignore({"layer_switch", "rotary_pct", "use_parallel_embedding"});
}

ModelPlan Plan(const ConfigReader& config) {
  ModelPlan plan = CoherePlan(config, 10000);
  RequireKnownForm(config);
  const size_t pattern =
      config.Size(FirstKey(config, "sliding_window_pattern|_sliding_window_pattern"), 4);
  const size_t window = ReadWindow(config, 4096);
  const std::vector<bool> windowed =
      ReadWindowed(config, plan.blocks.size(), [&](size_t b) { return (b + 1) % pattern != 0; });
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    AttentionPlan& attention = AttentionIn(plan.blocks[b]);
    if (windowed[b]) {
      attention.window = window;
    } else {
      attention.rotary.reset();
    }
  }
  return plan;
}

}  // namespace

extern const Family kCohere2Family;
constinit const Family kCohere2Family{"cohere2", Plan};

}  // namespace qualm
