// What a run will cost: memory, disk and time per stage, from shapes and a short measurement of
// this machine's matrix products. Estimates: times within a factor of two on an idle machine for
// layers of a thousand inputs and more; small layers take longer than their operations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantize/run.h"

namespace qualm {

struct Context;

// The cost of one stage, over all blocks.
struct PlanStage {
  std::string name;           // "forward and collect", "round", "measure"
  double seconds = 0;         // over all blocks
  uint64_t memory_bytes = 0;  // while a block is in this stage, in addition to resident_bytes
};

// The estimate for a whole run.
struct Plan {
  std::vector<PlanStage> stages;
  uint64_t resident_bytes =
      0;  // during the whole run: hidden states, one block, its rounded layers
  uint64_t peak_memory_bytes = 0;
  uint64_t disk_bytes = 0;
  double seconds = 0;
  double gflops = 0;  // measured, of the dense float product
  size_t blocks = 0;
  uint64_t calibration_tokens = 0, held_out_tokens = 0;
};

// Operations per second of this machine's dense float product, measured in a few milliseconds.
double MeasureFlops(const Context& context);

Plan MakePlan(const QuantizeOptions& options, const Context& context);

}  // namespace qualm
