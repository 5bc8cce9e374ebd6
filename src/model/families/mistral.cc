// Mistral (model_type "mistral"); the published code rounds hidden_size/heads down.
#include "model/family.h"
#include "model/mistral_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) { return MistralPlan(config, /*rounds_head_dim=*/true); }

}  // namespace

extern const Family kMistralFamily;
constinit const Family kMistralFamily{"mistral", Plan};

}  // namespace qualm
