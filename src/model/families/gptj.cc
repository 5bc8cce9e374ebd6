// GPT-J (model_type "gptj").
#include "model/family.h"
#include "model/gpt_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) { return GptJPlan(config); }

}  // namespace

extern const Family kGptjFamily;
constinit const Family kGptjFamily{"gptj", Plan};

}  // namespace qualm
