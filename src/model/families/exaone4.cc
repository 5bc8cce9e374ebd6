// EXAONE 4 (model_type "exaone4"): LLaMA with norms after the branches only and of each head of
// queries and keys. Where some blocks have a window, the others have no rotation.

#include "model/family.h"
#include "model/standard_plan.h"

namespace qualm {
namespace {

// "LLLG" lists the kinds of blocks, which repeat; a number is how often a block sees everything.
// The last block always does where a text says so.
std::vector<bool> ReadPattern(const ConfigReader& config, size_t blocks, size_t window) {
  if (window == 0) {
    config.Ignore({"layer_types", "sliding_window_pattern"});
    return std::vector<bool>(blocks, false);
  }
  std::string pattern = "LLLG";
  if (config.HasText("sliding_window_pattern")) {
    pattern = config.Text("sliding_window_pattern", pattern);
  } else {
    pattern = std::string(config.Size("sliding_window_pattern", 4) - 1, 'L') + "G";
  }
  if (pattern.empty() || pattern.find_first_not_of("LG") != std::string::npos) {
    config.Refuse("sliding_window_pattern", "a text of L and G", pattern);
  }
  return ReadWindowed(config, blocks, [&](size_t b) { return pattern[b % pattern.size()] == 'L'; });
}

ModelPlan Plan(const ConfigReader& config) {
  StandardOptions options;
  options.defaults.rounds_head_dim = true;
  options.rms_norm_eps = 1e-5;
  ModelPlan plan = StandardPlan(config, options);
  RequireNoBiases(config);
  const size_t window = ReadWindow(config, 4096);
  const std::vector<bool> windowed = ReadPattern(config, plan.blocks.size(), window);

  const NormParameters norm = plan.final_norm->parameters;
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    SetOlmoNorms(plan.blocks[b]);
    AttentionPlan& attention = AttentionIn(plan.blocks[b]);
    attention.norms = QueryKeyNorms{NormPlan{"self_attn.q_norm", attention.head_dim, norm},
                                    NormPlan{"self_attn.k_norm", attention.head_dim, norm}};
    attention.window = windowed[b] ? window : 0;
    if (window > 0 && !windowed[b]) attention.rotary.reset();
  }
  return plan;
}

}  // namespace

extern const Family kExaone4Family;
constinit const Family kExaone4Family{"exaone4", Plan};

}  // namespace qualm
