// Quantizes a checkpoint block by block into a folder: what `qualm quantize` does. Memory holds a
// few blocks and the hidden states, never the model. Every finished block is committed to the
// journal; a run that was killed goes on behind the last one and gives the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "artefact/manifest.h"
#include "data/sampler.h"
#include "quantize/recipe.h"

namespace qualm {

class Progress;
class ThreadPool;

struct QuantizeOptions {
  std::filesystem::path model;
  std::filesystem::path out;
  Recipe recipe;
  std::optional<CalibrationSet> calibration;
  uint64_t seed = 0;       // of rounders that draw random numbers
  bool overwrite = false;  // start over in a folder that holds another (un)finished artefact
  bool spill = false;      // keep hidden states in a mapped file under `out`
  std::optional<size_t> stop_after_blocks;  // write this many blocks, then stop without a manifest
  std::string qualm_version;
};

struct QuantizeResult {
  bool finished = false;  // false after stop_after_blocks
  size_t blocks_resumed = 0, blocks_written = 0;
  Manifest manifest;  // complete only if finished
};

// Throws what QuantizeModel would throw before it writes anything: a recipe that does not fit the
// model, missing calibration, sequences longer than the context.
void CheckQuantizeOptions(const QuantizeOptions& options);

// Throws bad input for a model, recipe, calibration set or folder that cannot be used, before
// anything is written; for weights or activations that are not finite, when it gets to them; and
// kFailed when the disk gives out; what was committed stays valid.
QuantizeResult QuantizeModel(const QuantizeOptions& options, ThreadPool& pool, Progress& progress);

// The same for several recipes, results in their order. Those whose blocks see the float model
// (order: {blocks: parallel}) share one pass of the hidden states, and those whose layers do so as
// well share statistics; the others run one after the other. Every folder has the bytes of a run by
// itself. Requires: model, calibration and spill are the same in all.
std::vector<QuantizeResult> QuantizeModels(std::span<const QuantizeOptions> all, ThreadPool& pool,
                                           Progress& progress);

}  // namespace qualm
