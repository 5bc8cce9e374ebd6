// config.json of a decoder-only transformer, checked and completed.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/kv_scheme.h"
#include "io/json.h"
#include "tensor/dtype.h"

namespace qualm {

struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3 only
  double original_context = 8192;                    // llama3 only
};

struct ModelConfig {
  std::string model_type;
  size_t hidden_size = 0;
  size_t intermediate_size = 0;
  size_t layers = 0;
  size_t heads = 0;
  size_t kv_heads = 0;
  size_t head_dim = 0;
  size_t vocab_size = 0;
  size_t context = 0;  // max_position_embeddings
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  std::optional<size_t> sliding_window;  // a query sees itself and the window-1 positions before it
  size_t first_window_layer = 0;         // blocks before this one see everything
  bool tied_embeddings = false;
  std::optional<KvCacheScheme> kv_cache;  // of a quantized model, from its manifest
  bool qkv_bias = false, o_bias = false, mlp_bias = false;

  size_t q_features() const { return heads * head_dim; }
  size_t kv_features() const { return kv_heads * head_dim; }
};

// Throws bad input naming file and key; an unknown model_type lists the supported ones.
ModelConfig ParseModelConfig(const Json& json, std::string_view place);
ModelConfig ReadModelConfig(const std::filesystem::path& folder);

// Angle per position of each rotary pair, [head_dim/2], with the scaling applied (linear: Chen et
// al. 2023; llama3: the piecewise rule of the Llama 3.1 release).
std::vector<double> RopeInverseFrequencies(const ModelConfig& config);

}  // namespace qualm
