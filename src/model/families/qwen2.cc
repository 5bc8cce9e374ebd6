// Qwen2 and Qwen2.5 (model_type "qwen2"): biases on the query, key and value layers. A sliding
// window applies only if use_sliding_window says so, and then only to the blocks from
// max_window_layers on.
#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// The keys of the window are often present without use_sliding_window, and then mean nothing.
void AddWindows(const ConfigReader& config, ModelPlan& plan) {
  if (!config.Bool("use_sliding_window", false)) return;
  if (config.HasNull("sliding_window")) return;
  const int64_t window = config.Int("sliding_window", 4096);
  const int64_t first = config.Int("max_window_layers", 28);
  if (window < 1 || first < 0) {
    config.Refuse("sliding_window", "a positive size and max_window_layers >= 0",
                  StrCat(window, " and ", first));
  }
  for (size_t b = static_cast<size_t>(first); b < plan.blocks.size(); ++b) {
    AttentionIn(plan.blocks[b]).window = static_cast<size_t>(window);
  }
}

ModelPlan Plan(const ConfigReader& config) {
  ReadActivation(config, "hidden_act", "silu", {{"silu", Activation::kSilu}});

  StandardOptions options;
  options.defaults.context = 32768;
  ModelPlan plan = StandardPlan(config, options);

  // Biases are always there; no key of the configuration says so.
  for (BlockPlan& block : plan.blocks) {
    AttentionPlan& attention = AttentionIn(block);
    for (LinearSite* site : {&attention.query, &attention.key, &attention.value}) {
      site->requires_bias = true;
    }
  }
  AddWindows(config, plan);
  return plan;
}

}  // namespace

extern const Family kQwen2Family;
constinit const Family kQwen2Family{"qwen2", Plan};

}  // namespace qualm
