// Stress models: the same float function with outliers in its activations. Small models have no
// outliers, so the benefit of transforms, rotations and outlier methods does not show on them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/model_source.h"

namespace qualm {

struct Context;

struct StressOptions {
  ModelSource model;
  std::filesystem::path out;
  uint64_t channels = 4;  // of each input of linear layers
  // The factor for those inputs. Powers of two are exact: the model gives the same bits as before.
  // Other factors are right up to the rounding of the changed weights.
  double factor = 64;
  uint64_t seed = 0;
};

// What was changed, and what could not be.
struct StressReport {
  size_t tensors_changed = 0, inputs_changed = 0;
  std::vector<std::string> left_out;  // inputs whose scale cannot be folded anywhere
};

// Writes a checkpoint: for each block and each input of linear layers whose scale can be folded,
// `channels` of its channels become `factor` times larger (norm weights, or rows of the
// linear layer before) and the columns that read them smaller by the same factor. The hidden
// channels are the same in all blocks, as in large models. Throws bad input if `out` is not a new
// or empty folder, or for a factor that leaves the tensors' number types.
StressReport MakeStressModel(const StressOptions& options, const Context& context);

}  // namespace qualm
