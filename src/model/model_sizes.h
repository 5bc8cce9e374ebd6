// How large a model is: its parameters, its files, the bits of a weight.
#pragma once

#include <cstdint>
#include <optional>

#include "artefact/manifest.h"
#include "model/checkpoint.h"

namespace qualm {

// Totals over the whole model.
struct ModelSizes {
  uint64_t parameters = 0;  // weights of the model, whatever they are stored as
  uint64_t file_bytes = 0;
  double bits_per_weight = 0;  // of the whole model, everything counted
};

ModelSizes SizesOf(const Checkpoint& checkpoint, const std::optional<Manifest>& manifest);

}  // namespace qualm
