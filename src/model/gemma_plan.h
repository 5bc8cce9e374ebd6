// What the Gemma families share.
#pragma once

#include "model/standard_plan.h"

namespace qualm {

// LLaMA's block with RMS norms whose weights are stored as w - 1, a gated MLP of the tanh form of
// gelu, and embeddings multiplied by the root of their width that also serve as the head.
// `layer_type`: as ReadRotary has it.
ModelPlan GemmaPlan(const ConfigReader& config, const SizeDefaults& defaults, Activation activation,
                    std::string_view layer_type = {});
// The activation of Gemma 2 and 3.
Activation ReadGemmaActivation(const ConfigReader& config);

// Norms before and after each branch (Gemma 2 and 3). The one named post_attention_layernorm
// follows the attention here; in LLaMA it precedes the MLP.
void SetGemmaNormsAfter(BlockPlan& block);

// Gemma 3's text model, by itself or inside a multimodal one.
ModelPlan Gemma3TextPlan(const ConfigReader& config);

}  // namespace qualm
