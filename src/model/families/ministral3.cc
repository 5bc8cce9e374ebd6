// Ministral 3 (model_type "ministral3"): Mistral with YaRN, and queries that grow with their
// position beyond the original context.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// The growth's parameters lie among the rotary ones.
std::optional<QueryGrowth> ReadQueryGrowth(const ConfigReader& config, size_t context) {
  const std::string_view key = RotaryKey(config);
  if (!config.HasObject(key)) config.Refuse(key, "an object with llama_4_scaling_beta", "none");
  const ConfigReader inner = config.Inner(key);
  inner.Ignore({"max_position_embeddings"});
  if (!inner.HasNonzero("llama_4_scaling_beta")) return {};
  return QueryGrowth{
      inner.Positive("llama_4_scaling_beta", 0.1),
      inner.Positive("original_max_position_embeddings", static_cast<double>(context))};
}

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults = {.context = 262144, .kv_heads = 8, .head_dim = 128};
  options.rms_norm_eps = 1e-5;
  ModelPlan plan = StandardPlan(config, options);
  RequireNoBiases(config);

  const std::optional<QueryGrowth> growth = ReadQueryGrowth(config, plan.context);
  const size_t window = ReadWindow(config, 0);
  config.Ignore({"layer_types"});
  for (BlockPlan& block : plan.blocks) {
    AttentionIn(block).window = window;
    AttentionIn(block).query_growth = growth;
  }
  return plan;
}

}  // namespace

extern const Family kMinistral3Family;
constinit const Family kMinistral3Family{"ministral3", Plan};

}  // namespace qualm
