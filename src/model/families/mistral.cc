// Mistral (model_type "mistral"): LLaMA with a sliding attention window in every block.
#include "base/strings.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  ReadActivation(config, "hidden_act", "silu", {{"silu", Activation::kSilu}});

  // Missing keys mean the sizes of Mistral 7B.
  StandardOptions options;
  options.defaults.context = 131072;
  options.defaults.kv_heads = 8;
  ModelPlan plan = StandardPlan(config, options);

  // The published default when the key is missing is 4096; an explicit null turns the window off.
  const int64_t window = config.Int("sliding_window", config.HasNull("sliding_window") ? 0 : 4096);
  if (window < 0) config.Refuse("sliding_window", "a positive size", StrCat(window));
  for (BlockPlan& block : plan.blocks) AttentionIn(block).window = static_cast<size_t>(window);
  return plan;
}

}  // namespace

extern const Family kMistralFamily;
constinit const Family kMistralFamily{"mistral", Plan};

}  // namespace qualm
