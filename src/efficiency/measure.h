// How fast a model folder runs on this machine, and what memory it takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "efficiency/peaks.h"
#include "model/model.h"

namespace qualm {

struct Context;

// What is measured: every context with every batch.
struct SpeedOptions {
  size_t prompt = 128, gen = 32, repetitions = 5;
  std::vector<size_t> contexts;  // prompt lengths; if empty, `prompt` is the only one
  std::vector<size_t> batches = {1};
};

// Tokens per second of all sequences together. Decoding is measured after the prompt.
struct SpeedPoint {
  size_t context = 0, batch = 1;
  Spread prefill, decode;
  std::optional<double> joules_per_token;  // of decoding; empty if the machine cannot tell
};

// A format in which linear layers of the blocks are stored, and how many of them.
struct FormatUse {
  std::string format;
  size_t layers = 0;
  uint64_t bytes = 0;
  bool is_dequantized = false;  // no kernel can read its codes
};

// The result for one model folder.
struct SpeedResult {
  Spread load_seconds;
  uint64_t weight_bytes = 0;         // read for every decoded token
  uint64_t steady_memory_bytes = 0;  // resident, loaded and warm
  // The most that was resident while this was measured; or since the process began, if the kernel
  // does not let its mark be reset.
  uint64_t peak_memory_bytes = 0;
  std::vector<FormatUse> formats;
  std::vector<SpeedPoint> points;  // by context, then by batch
};

// Runs on random token ids and gives medians over repetitions. Throws bad input for contexts that
// are longer than the model's.
SpeedResult MeasureSpeed(const ModelSource& source, const SpeedOptions& options,
                         const Context& context);

}  // namespace qualm
