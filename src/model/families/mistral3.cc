// Mistral 3 as published for text and pictures (model_type "mistral3"): the text model inside it,
// of the family that its configuration names.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  if (!config.HasObject("text_config")) {
    config.Refuse("text_config", "the text model's configuration", "none");
  }
  config.Ignore({"vision_config", "image_token_index", "multimodal_projector_bias",
                 "projector_hidden_act", "spatial_merge_size", "vision_feature_layer"});
  const ConfigReader text = config.Inner("text_config");
  const std::string type = text.Text("model_type", "mistral");
  if (type == "mistral3") text.Refuse("model_type", "a text model", type);

  ModelPlan plan = FindFamily(type, AllFamilies()).plan(text);
  plan.tied_embeddings = ReadTied(config, plan.tied_embeddings);
  SetNestedTextModel(plan);
  return plan;
}

}  // namespace

extern const Family kMistral3Family;
constinit const Family kMistral3Family{"mistral3", Plan};

}  // namespace qualm
