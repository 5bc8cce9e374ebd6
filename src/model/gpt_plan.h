// What GPT-2 and GPT-J share with the families that came from them.
#pragma once

#include "model/standard_plan.h"

namespace qualm {

// The names that GPT-2 gave the sizes, and those that newer files may have.
inline constexpr SizeKeys kGptKeys{.hidden = "n_embd|hidden_size",
                                   .intermediate = "n_inner",
                                   .blocks = "n_layer|num_hidden_layers",
                                   .heads = "n_head|num_attention_heads",
                                   .kv_heads = "",
                                   .head_dim = "",
                                   .context = "n_positions|max_position_embeddings"};

// One LayerNorm feeds attention and a plain MLP in parallel; the first values of each head are
// rotated in neighbouring pairs; the head has a bias.
ModelPlan GptJPlan(const ConfigReader& config);

}  // namespace qualm
