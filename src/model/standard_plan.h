// What families share: sizes, activations, rotations and windows as configurations state them, and
// the blocks of LLaMA, from which most families differ in a few fields. A family takes what it
// shares and edits the plan.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "model/config_reader.h"
#include "model/model_plan.h"

namespace qualm {

// Configurations.

// The sizes that most configurations state.
struct CommonSizes {
  size_t hidden = 0, intermediate = 0, blocks = 0, heads = 0, kv_heads = 0, head_dim = 0;
  size_t vocab = 0, context = 0;
};

// The keys of the sizes, under the names of LLaMA unless a family has others. A key may be written
// as several, separated by bars: the first that the configuration has counts. Empty: no such key.
struct SizeKeys {
  std::string_view hidden = "hidden_size", intermediate = "intermediate_size";
  std::string_view blocks = "num_hidden_layers", heads = "num_attention_heads";
  std::string_view kv_heads = "num_key_value_heads", head_dim = "head_dim";
  std::string_view vocab = "vocab_size", context = "max_position_embeddings";
};

// What missing keys mean. 0 heads of keys and values: as many as of queries; head_dim 0:
// hidden_size/heads; intermediate 0: the key is required, unless `intermediate_ratio` times the
// hidden size takes its place.
struct SizeDefaults {
  size_t context = 2048, kv_heads = 0, head_dim = 0, intermediate_ratio = 0;
  // Whether hidden_size/heads is rounded down; else it must have no remainder.
  bool rounds_head_dim = false;
  // 0: the key is required.
  size_t hidden = 0, intermediate = 0, blocks = 0, heads = 0, vocab = 0;
};

CommonSizes ReadSizes(const ConfigReader& config, const SizeDefaults& defaults,
                      const SizeKeys& keys = {});
// The first of the keys, separated by bars, that the configuration has; else the first.
std::string_view FirstKey(const ConfigReader& config, std::string_view keys);

// The activation under `key`. Names as in transformers; throws bad input that lists them.
Activation ReadActivation(const ConfigReader& config, std::string_view key,
                          std::string_view fallback);

// Whether the embedding serves as the head.
bool ReadTied(const ConfigReader& config, bool fallback);

// The key of the object with rotary parameters: rope_scaling where it says something, as the
// library has it, else rope_parameters.
std::string_view RotaryKey(const ConfigReader& config);
// How many values of a head are rotated, as RotaryPlan::dims has it: a share under `key` at the top
// level, or under partial_rotary_factor among the rotary parameters. Throws bad input if there are
// none, or more than the head has once they are rounded up to pairs.
size_t ReadRotaryDims(const ConfigReader& config, size_t head_dim, double fallback,
                      std::string_view key = "partial_rotary_factor");
// rope_theta and rope_scaling, or rope_parameters, which newer files have instead of both; of
// blocks of type `layer_type` where these differ ("sliding_attention"); the defaults where there
// are none of that type. `context`: of the model; `theta`: what a missing `theta_key` stands for.
// `original_context`: what a missing original_max_position_embeddings means at the top level, in
// families for which only that key counts; 0 in others.
RotaryPlan ReadRotary(const ConfigReader& config, size_t dims, size_t context,
                      std::string_view layer_type = {}, double theta = 10000,
                      std::string_view theta_key = "rope_theta", double original_context = 0);

// "full_attention" or "sliding_attention" for every block: layer_types, or what `is_windowed` says
// of a block where the configuration does not list them.
template <typename IsWindowed>
std::vector<bool> ReadWindowed(const ConfigReader& config, size_t blocks,
                               const IsWindowed& is_windowed);
std::vector<std::string> ReadLayerTypes(const ConfigReader& config, size_t blocks);
// The size under `key`; 0 if it is null, or missing without a fallback.
size_t ReadWindow(const ConfigReader& config, size_t fallback,
                  std::string_view key = "sliding_window");

// Windows of Qwen's families: none without use_sliding_window, else in the blocks that layer_types
// names, or from max_window_layers on.
void SetQwenWindows(const ConfigReader& config, ModelPlan& plan);

// Norms of OLMo 2 and 3: after the branches only, and of all heads of queries and keys together.
void SetOlmoNorms(BlockPlan& block);

// Parts.

// Attention without biases over all positions, scaled by 1/sqrt(head_dim); its linear layers are
// named PREFIX.q_proj, k_proj, v_proj and `output`.
AttentionPlan PlainAttention(const CommonSizes& sizes, const std::string& prefix,
                             const std::string& output);
// The MLPs of LLaMA and of GPT-2, without biases.
MlpPlan GatedMlp(const CommonSizes& sizes, Activation activation,
                 const std::string& prefix = "mlp");
MlpPlan PlainMlp(const CommonSizes& sizes, Activation activation, const std::string& up,
                 const std::string& down);
void SetBiases(AttentionPlan& plan, bool query_key_value, bool output);
void SetBiases(MlpPlan& plan, bool has_bias);

// Queries, keys and values in one tensor: one after the other; or, for each head of keys, its
// queries, key and value. The layers are named TENSOR.query, .key and .value.
void StoreOneAfterTheOther(AttentionPlan& plan, const std::string& tensor);
void StoreByKeyHead(AttentionPlan& plan, const std::string& tensor);
// Gate and up in one tensor, one after the other: TENSOR.gate, TENSOR.up.
void StoreOneAfterTheOther(MlpPlan& plan, const std::string& tensor);

// For families whose linear layers have no such biases: what their configurations may say of them.
void RequireNoBiases(const ConfigReader& config);

// Models.

// GPT-2's surroundings: embedding PREFIXwte, last norm PREFIXln_f with bias, head lm_head, blocks
// PREFIXh.N.
ModelPlan GptModel(const CommonSizes& sizes, bool tied_embeddings, const NormParameters& norm,
                   const std::string& prefix);
// Attention, then an MLP, each after a LayerNorm with bias of the given name; `parallel`: both read
// the first one.
BlockPlan LayerNormBlock(const CommonSizes& sizes, const AttentionPlan& attention, MlpPlan mlp,
                         const NormParameters& norm, const std::string& first,
                         const std::string& second, bool parallel = false);

// Embedding, head (tied or not) and last norm under LLaMA's names, and no blocks.
ModelPlan PlainModel(const CommonSizes& sizes, bool tied_embeddings, const NormParameters& norm);
// Names of the plan that begin with `prefix` may lack it in a checkpoint, as those do that were
// saved without a head.
void MayLackPrefix(ModelPlan& plan, const std::string& prefix);

// The text model of a multimodal checkpoint: its tensors have a prefix, and those of the other
// parts are left out.
void SetNestedTextModel(ModelPlan& plan);

// LLaMA without biases.
struct StandardOptions {
  SizeDefaults defaults;
  double rms_norm_eps = 1e-6;
  bool tied_by_default = false;
  double rotary_share = 1, rope_theta = 10000;
  double original_context = 0;  // as ReadRotary has it
};
ModelPlan StandardPlan(const ConfigReader& config, const StandardOptions& options);
BlockPlan StandardBlock(const CommonSizes& sizes, const AttentionPlan& attention, MlpPlan mlp,
                        const NormParameters& norm);

// The parts of a block whose first branch is attention and whose second is an MLP.
AttentionPlan& AttentionIn(BlockPlan& block);
MlpPlan& MlpIn(BlockPlan& block);

template <typename IsWindowed>
std::vector<bool> ReadWindowed(const ConfigReader& config, size_t blocks,
                               const IsWindowed& is_windowed) {
  const std::vector<std::string> types = ReadLayerTypes(config, blocks);
  std::vector<bool> windowed(blocks);
  for (size_t b = 0; b < blocks; ++b) {
    windowed[b] = types.empty() ? is_windowed(b) : types[b] == "sliding_attention";
  }
  return windowed;
}

}  // namespace qualm
