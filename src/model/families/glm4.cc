// GLM-4-0414 (model_type "glm4"): GLM with norms after the branches as well.
#include "model/family.h"
#include "model/glm_plan.h"

namespace qualm {
namespace {

ModelPlan Plan(const ConfigReader& config) {
  ModelPlan plan = GlmPlan(config);
  const NormParameters norm = plan.final_norm->parameters;
  for (BlockPlan& block : plan.blocks) {
    block.branches[0].norm_after = NormPlan{"post_self_attn_layernorm", plan.hidden_size, norm};
    block.branches[1].norm_after = NormPlan{"post_mlp_layernorm", plan.hidden_size, norm};
  }
  return plan;
}

}  // namespace

extern const Family kGlm4Family;
constinit const Family kGlm4Family{"glm4", Plan};

}  // namespace qualm
