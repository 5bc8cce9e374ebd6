// One block of the run: collect, round, replace, measure, in the order the recipe asks for.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "artefact/manifest.h"
#include "artefact/quantized_linear.h"
#include "model/checkpoint.h"
#include "quantize/block_statistics.h"
#include "quantize/block_tensors.h"
#include "recipe/recipe.h"

namespace qualm {

struct Context;

// The result of one block: everything that its file and its part of the manifest need.
struct QuantizedBlock {
  // By full name, in the plan's order; layers that the recipe skips are absent.
  std::vector<std::pair<LayerRecord, QuantizedLinear>> layers;
  std::vector<ChangedTensor> changed;  // float tensors that differ from the checkpoint's
  std::vector<std::pair<std::string, double>> seconds;  // per stage, for timings.json
};

// Everything that a block is quantized with. The hidden states are the block's inputs; they are
// null without data.
struct BlockRun {
  const Checkpoint& checkpoint;
  const Recipe& recipe;
  const ModelRotation* rotation =
      nullptr;  // null, or the rotation that is applied to the checkpoint's tensors
  HiddenStates* calibration = nullptr;
  HiddenStates* held_out = nullptr;
  // With parallel layers and no transforms: statistics that other recipes share; null: collect
  // them.
  const std::vector<InputStats>* collected = nullptr;
  uint64_t seed = 0;
  const Context& context;
};

// Quantizes `block` (float at first, in the rotated basis if there is one); on return its quantized
// layers run on their packed weights. With sequential layers the hidden states have gone through
// the quantized block; with parallel ones they are still its inputs.
QuantizedBlock QuantizeBlock(const BlockRun& run, DecoderBlock& block);

}  // namespace qualm
