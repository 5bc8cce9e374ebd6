// Qwen2 and Qwen2.5 (model_type "qwen2"): biases on the query, key and value layers. A sliding
// window applies only if use_sliding_window says so, and then only to the blocks from
// max_window_layers on, or to those that layer_types names.
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults.context = 32768;
  options.defaults.rounds_head_dim = true;
  ModelPlan plan = StandardPlan(config, options);
  config.Require("use_mrope", false);
  config.Ignore({"attention_bias"});
  config.Require("mlp_bias", false);

  // Biases are always there; no key of the configuration says so.
  for (BlockPlan& block : plan.blocks) {
    SetBiases(AttentionIn(block), /*query_key_value=*/true, /*output=*/false);
  }
  SetQwenWindows(config, plan);
  return plan;
}

}  // namespace

extern const Family kQwen2Family;
constinit const Family kQwen2Family{"qwen2", Plan};

}  // namespace qualm
