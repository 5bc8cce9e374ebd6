// Stress models: the same float function with outliers in its activations. Small models have none,
// and what transforms, rotations and outlier methods are for does not show on them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace qualm {

class Progress;
class ThreadPool;

struct StressOptions {
  std::filesystem::path model, out;
  uint64_t channels = 4;  // of each group's inputs
  // What those inputs are multiplied by. Powers of two are exact: the model gives the same bits as
  // before. Others are right up to the rounding of the changed weights.
  double factor = 64;
  uint64_t seed = 0;
};

struct StressReport {
  size_t tensors_changed = 0, groups = 0;
  std::vector<std::string> left_out;  // groups whose inputs nothing can take a factor for
};

// Writes a checkpoint: for each block and each group of linear layers whose scale can be folded
// into what precedes it, `channels` of its inputs are `factor` times larger (norm weights, rows of
// the linear layer before) and the columns that read them as much smaller. The hidden channels are
// the same in all blocks, as in large models. Throws bad input if `out` is not a new or empty
// folder, or for a factor that leaves the tensors' number types.
StressReport MakeStressModel(const StressOptions& options, ThreadPool& pool, Progress& progress);

}  // namespace qualm
