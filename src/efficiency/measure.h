// How fast a model folder runs here and what memory it takes, as it would run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "efficiency/peaks.h"
#include "model/model.h"

namespace qualm {

class Progress;

struct SpeedOptions {
  size_t prompt = 128, gen = 32, repetitions = 5;
  std::vector<size_t> contexts;  // prompt lengths; empty: `prompt`
  std::vector<size_t> batches = {1};
};

// Tokens per second of all sequences together. Decoding is measured behind the prompt.
struct SpeedPoint {
  size_t context = 0, batch = 1;
  Spread prefill, decode;
  std::optional<double> joules_per_token;  // of decoding; nothing where the machine does not tell
};

// How the blocks' linear layers are kept, and how many are kept so.
struct FormatUse {
  std::string format;
  size_t layers = 0;
  uint64_t bytes = 0;
  bool is_dequantized = false;  // no kernel takes its codes
};

struct SpeedResult {
  Spread load_seconds;
  uint64_t weight_bytes = 0;         // read for every decoded token
  uint64_t steady_memory_bytes = 0;  // resident, loaded and warm
  // Resident at most while this was measured; since the process began where the kernel does not let
  // its mark be reset.
  uint64_t peak_memory_bytes = 0;
  std::vector<FormatUse> formats;
  std::vector<SpeedPoint> points;  // by context, then by batch
};

// Random token ids; medians over repetitions. Throws bad input for contexts that the model has not.
SpeedResult MeasureSpeed(const std::filesystem::path& folder, const SpeedOptions& options,
                         ThreadPool& pool, Progress& progress);

}  // namespace qualm
