// GLM-4 in transformers (model_type "glm").
#include "model/family.h"
#include "model/glm_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) { return GlmPlan(config); }

}  // namespace

extern const Family kGlmFamily;
constinit const Family kGlmFamily{"glm", Plan};

}  // namespace qualm
