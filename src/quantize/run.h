// Quantizes a checkpoint block by block into a folder, as `qualm quantize` does. Memory holds a few
// blocks and the hidden states, never the model. Every finished block is committed to the journal;
// a run that was killed continues after the last committed block and gives the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "artefact/manifest.h"
#include "calibrate/sampler.h"
#include "io/input_set.h"
#include "model/model_source.h"
#include "recipe/recipe.h"

namespace qualm {

struct Context;

struct QuantizeOptions {
  ModelSource model;
  std::filesystem::path out;
  Recipe recipe;
  std::optional<CalibrationSet> calibration;
  uint64_t seed = 0;       // of rounders that draw random numbers
  bool overwrite = false;  // start over in a folder that holds another (un)finished artefact
  bool spill = false;      // keep hidden states in a mapped file under `out`
  std::optional<size_t> stop_after_blocks;  // write this many blocks, then stop without a manifest
  std::string qualm_version;
  // Called with the files of the model before anything is written; may throw. Empty: nobody asks.
  // Of several runs the first one's is called, as the model is the same for all.
  std::function<void(InputSet& opened)> on_inputs;
};

// What a run has done; the manifest says what is in the folder.
struct QuantizeResult {
  bool finished = false;  // false after stop_after_blocks
  size_t blocks_resumed = 0, blocks_written = 0;
  Manifest manifest;  // complete only if finished
};

// Throws what QuantizeModel would throw before it writes anything: a recipe that does not fit the
// model, missing calibration, sequences longer than the context.
void CheckQuantizeOptions(const QuantizeOptions& options);

// Throws bad input for a model, recipe, calibration set or folder that cannot be used, before
// anything is written; for weights or activations that are not finite, when it reaches them; and
// kFailed when the disk is full or fails. What was committed stays valid.
QuantizeResult QuantizeModel(const QuantizeOptions& options, const Context& context);

// The same for several recipes, with results in their order. Recipes whose blocks see the float
// model (order: {blocks: parallel}) share one pass of the hidden states, and those whose layers see
// it as well share statistics; the rest run one after another. Every folder has the bytes of a run
// by itself. Requires: model, calibration and spill are the same for all.
std::vector<QuantizeResult> QuantizeModels(std::span<const QuantizeOptions> all,
                                           const Context& context);

}  // namespace qualm
