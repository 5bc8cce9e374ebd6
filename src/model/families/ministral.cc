// Ministral (model_type "ministral").
#include "model/family.h"
#include "model/mistral_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  return MistralPlan(config, /*rounds_head_dim=*/false);
}

}  // namespace

extern const Family kMinistralFamily;
constinit const Family kMinistralFamily{"ministral", Plan};

}  // namespace qualm
