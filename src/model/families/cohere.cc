// Command R (model_type "cohere").

#include "model/cohere_plan.h"
#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) { return CoherePlan(config, 500000); }

}  // namespace

extern const Family kCohereFamily;
constinit const Family kCohereFamily{"cohere", Plan};

}  // namespace qualm
