// MiniCPM (model_type "minicpm"): LLaMA with scaled embeddings, branches scaled by the depth, and
// logits divided by how much wider the model is than the one its rates were tuned on.
#include <cmath>

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.tied_by_default = true;
  ModelPlan plan = StandardPlan(config, options);
  const double blocks = static_cast<double>(plan.blocks.size());
  const double hidden = static_cast<double>(plan.hidden_size);
  plan.embedding.scale = static_cast<float>(config.Positive("scale_emb", 1));
  // Missing keys are 1 in the published code; null scales nothing.
  const auto read = [&](std::string_view key, double neutral) {
    return config.HasNull(key) ? neutral : config.Positive(key, 1);
  };
  plan.logit_scale = static_cast<float>(read("dim_model_base", hidden) / hidden);

  const auto scale = static_cast<float>(read("scale_depth", std::sqrt(blocks)) / std::sqrt(blocks));
  const bool has_bias = config.Bool("attention_bias", false);
  for (BlockPlan& block : plan.blocks) {
    for (Branch& branch : block.branches) branch.output_scale = scale;
    SetBiases(AttentionIn(block), has_bias, has_bias);
  }
  return plan;
}

}  // namespace

extern const Family kMinicpmFamily;
constinit const Family kMinicpmFamily{"minicpm", Plan};

}  // namespace qualm
