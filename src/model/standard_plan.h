// The configuration and the blocks of LLaMA, from which most families differ in a few fields. A
// family takes what it shares and edits the plan.
#pragma once

#include <initializer_list>
#include <utility>

#include "model/config_reader.h"
#include "model/model_plan.h"

namespace qualm {

// The sizes that most configurations state, under the names of LLaMA.
struct CommonSizes {
  size_t hidden = 0, intermediate = 0, blocks = 0, heads = 0, kv_heads = 0, head_dim = 0;
  size_t vocab = 0, context = 0;
};

// What missing keys mean. 0 heads of keys and values: as many as of queries; head_dim 0:
// hidden_size/heads.
struct SizeDefaults {
  size_t context = 2048, kv_heads = 0, head_dim = 0;
};

CommonSizes ReadSizes(const ConfigReader& config, const SizeDefaults& defaults);

// The activation under `key`, one of `known`. Throws bad input that lists these.
Activation ReadActivation(const ConfigReader& config, std::string_view key,
                          std::string_view fallback,
                          std::initializer_list<std::pair<const char*, Activation>> known);

// rope_theta and rope_scaling, or rope_parameters, which newer files have instead of both.
RotaryPlan ReadRotary(const ConfigReader& config, size_t dims);

// Attention without biases over all positions, scaled by 1/sqrt(head_dim); its linear layers are
// named PREFIX.q_proj, k_proj, v_proj and `output`.
AttentionPlan PlainAttention(const CommonSizes& sizes, const std::string& prefix,
                             const std::string& output);

// Embedding, head (tied or not) and last norm under LLaMA's names, and no blocks.
ModelPlan PlainModel(const CommonSizes& sizes, bool tied_embeddings, const NormParameters& norm);

// LLaMA with silu and without biases.
struct StandardOptions {
  SizeDefaults defaults;
  Activation activation = Activation::kSilu;
  bool tied_by_default = false;
};
ModelPlan StandardPlan(const ConfigReader& config, const StandardOptions& options);

// The parts of a block that StandardPlan made.
AttentionPlan& AttentionIn(BlockPlan& block);
MlpPlan& MlpIn(BlockPlan& block);

}  // namespace qualm
