// A quantized model of any format as a float checkpoint in Hugging Face's form: each layer's weight
// as its own library has it, everything else byte for byte. No plan is needed, so that models of
// families that cannot run here are written as well.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "formats/quantized_layers.h"

namespace qualm {

struct Context;

struct HfExportOptions {
  std::filesystem::path model;  // a folder, a GGUF file, or an adapter of PEFT
  std::filesystem::path out;
  std::optional<DType> dtype;  // of the dequantized weights; empty: the library's
  uint64_t shard_bytes = uint64_t{5'000'000'000};  // most bytes of tensors in a file
  ReadOptions read;
  std::filesystem::path base;  // of an adapter; empty: see BaseOfAdapter
};

struct HfExportPlan {
  FormatDescription description;
  size_t layers = 0;   // that are dequantized
  size_t tensors = 0;  // altogether
  uint64_t bytes = 0;  // of all tensors that are written
  std::vector<std::string> shards;
  std::vector<std::string> warnings;  // what the checkpoint does not hold
};

// What ExportHf would write. Throws bad input for a model that is not quantized, and for one that a
// float checkpoint cannot hold.
HfExportPlan PlanHfExport(const HfExportOptions& options);

// Writes the folder. Shards that an interrupted run has finished are kept. Throws bad input for a
// folder that holds something else.
HfExportPlan ExportHf(const HfExportOptions& options, const Context& context);

}  // namespace qualm
