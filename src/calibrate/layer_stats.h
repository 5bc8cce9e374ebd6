// The statistics of one input of linear layers, and the collector that gathers them while hidden
// states stream through the float (or partly quantized) block.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/matrix.h"

namespace qualm {

struct Context;

// The statistics of one input. What was not asked for is empty.
struct LayerStats {
  size_t in_features = 0;
  uint64_t tokens = 0;           // rows seen
  Matrix gram;                   // Σ xᵀx [in, in], not divided by tokens; empty if not collected
  std::vector<double> gram64;    // the same in float64, [in·in]; empty if not asked for
  std::vector<float> min, max;   // per channel [in]; empty if not collected
  std::vector<double> abs_mean;  // per channel [in]: mean |x|; empty if not collected
  Matrix sample;                 // some rows of x, evenly spaced over all tokens
};

struct CollectorOptions {
  bool gram = false;
  bool gram64 = false;
  bool channel_statistics = false;
  size_t sample_rows = 0;             // at most; 0: none
  std::string place = "calibration";  // whose inputs they are, for messages
};

// Used once per input: construct, Add pieces until all tokens were seen, Take.
class Collector {
 public:
  // `total_tokens` is the number of rows that all calls of Add will pass together: the sample is
  // spread over them evenly and does not depend on how they are cut into calls.
  Collector(size_t in_features, uint64_t total_tokens, const CollectorOptions& options);

  // x [tokens, in]. Throws kFailed naming the place if a value is NaN or infinite.
  void Add(Span2D<const float> x, const Context& context);
  LayerStats Take();

 private:
  bool IsSampled(uint64_t token) const;

  CollectorOptions options_;
  uint64_t total_tokens_;
  uint64_t sample_rows_;
  uint64_t sampled_ = 0;
  LayerStats stats_;
};

}  // namespace qualm
