// Gemma 3 as published for text and pictures (model_type "gemma3"): the text model inside it. What
// sees pictures is left out.

#include "model/family.h"
#include "model/gemma_plan.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  if (!config.HasObject("text_config")) {
    config.Refuse("text_config", "the text model's configuration", "none");
  }
  config.Ignore({"vision_config", "boi_token_index", "eoi_token_index", "image_token_index",
                 "mm_tokens_per_image"});
  ModelPlan plan = Gemma3TextPlan(config.Inner("text_config"));
  plan.tied_embeddings = ReadTied(config, plan.tied_embeddings);
  SetNestedTextModel(plan);
  return plan;
}

}  // namespace

extern const Family kGemma3Family;
constinit const Family kGemma3Family{"gemma3", Plan};

}  // namespace qualm
