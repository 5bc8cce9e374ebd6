// Gemma 3 as a text model (model_type "gemma3_text").

#include "model/family.h"
#include "model/gemma_plan.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) { return Gemma3TextPlan(config); }

}  // namespace

extern const Family kGemma3TextFamily;
constinit const Family kGemma3TextFamily{"gemma3_text", Plan};

}  // namespace qualm
