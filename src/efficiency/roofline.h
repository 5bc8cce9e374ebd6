// The least time a model can take on a device: every operation is bound either by arithmetic or by
// memory (Williams et al. 2009; per layer for language models: Yuan et al. 2024, LLM-Viewer).
// What is counted and what is left out: docs/efficiency.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "artefact/manifest.h"
#include "efficiency/hardware.h"
#include "model/checkpoint.h"
#include "recipe/recipe.h"

namespace qualm {

enum class Phase : uint8_t { kPrefill, kDecode };

// How a linear layer is stored, and what types its product multiplies.
struct LayerStorage {
  std::string name;  // "model.layers.0.mlp.up_proj"
  size_t out = 0, in = 0;
  double weight_bytes = 0;  // codes, scales, zero points, outliers
  int weight_bits = 0;  // of integer products; 0 if the weights are floats when they are multiplied
  int input_bits = 0;   // of integer products; 0 if the inputs are floats
  bool is_fp8 = false;  // weights and inputs are 8-bit floats
};

// How a model is stored: its layers and its cache.
struct ModelStorage {
  std::string label;  // "float", a recipe's name
  ModelPlan plan;
  std::vector<LayerStorage> layers;
  double embedding_row_bytes = 0, head_bytes = 0, norm_bytes = 0;
  std::vector<double> kv_bytes_per_position;  // by block: keys and values
  double bits_per_weight = 0;                 // of the blocks' linear layers

  double weight_bytes() const;          // that every decoded token reads
  double kv_bytes_of_position() const;  // over all blocks
};

// From a folder as it is, float or quantized: exact, from the manifest and the files. From a
// recipe: what the model would become, without what only the data or a search decides (outliers,
// float columns, scales of online transforms).
ModelStorage StorageOf(const Checkpoint& checkpoint, const Manifest* manifest);
ModelStorage StorageOf(const Checkpoint& checkpoint, const Recipe& recipe);
// Sets the cache to "fp32" (our own cache), "fp16", "int8" or "int4"; integers per head with
// float16 scales.
void SetKvBytes(ModelStorage& storage, const std::string& kind);

// The amount of work.
struct Work {
  size_t batch = 1, prompt = 128, context = 128;  // decode: one token after `context`
};

// The cost of one kind of operation in all blocks together.
struct OperationCost {
  std::string kind;  // "q_proj", "attention scores", "norms", "lm_head", ...
  double ops = 0;    // a multiply-add is two
  double weight_bytes = 0, activation_bytes = 0, kv_bytes = 0;
  double compute_seconds = 0, memory_seconds = 0;
  double seconds = 0;  // sum over operations of the larger of the two

  double bytes() const { return weight_bytes + activation_bytes + kv_bytes; }
  double intensity() const { return bytes() > 0 ? ops / bytes() : 0; }
  bool is_memory_bound() const { return memory_seconds >= compute_seconds; }
};

// The predicted time, by kind of operation.
struct Roofline {
  std::vector<OperationCost> operations;  // summed over blocks, by kind
  double seconds = 0, tokens_per_second = 0;
};

// `activation_bytes` is the size of one number between operations (4: float32, as in our kernels).
Roofline PredictTime(const ModelStorage& storage, const Hardware& hardware, Phase phase,
                     const Work& work, double activation_bytes);

}  // namespace qualm
