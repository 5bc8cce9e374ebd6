// Gemma 1 (model_type "gemma"): LLaMA's block with norms stored as w - 1, the tanh form of gelu,
// and scaled embeddings that also serve as the head.

#include "model/family.h"
#include "model/gemma_plan.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  // Published files have a second key, which newer ones left, and mean the tanh form by "gelu".
  config.Ignore({"hidden_activation"});
  Activation activation = ReadActivation(config, "hidden_act", "gelu_pytorch_tanh");
  if (activation == Activation::kGeluErf) activation = Activation::kGeluTanh;

  ModelPlan plan =
      GemmaPlan(config, {.context = 8192, .kv_heads = 16, .head_dim = 256}, activation);
  const bool has_bias = config.Bool("attention_bias", false);
  config.Require("use_bidirectional_attention", false);
  for (BlockPlan& block : plan.blocks) SetBiases(AttentionIn(block), has_bias, has_bias);
  return plan;
}

}  // namespace

extern const Family kGemmaFamily;
constinit const Family kGemmaFamily{"gemma", Plan};

}  // namespace qualm
