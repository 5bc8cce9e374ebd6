// How large a layer will be before it is rounded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "artefact/scheme.h"

namespace qualm {

// Bytes of one layer's tensors under a scheme without outliers and transforms.
uint64_t EstimateStoredBytes(const Scheme& scheme, size_t out, size_t in);

}  // namespace qualm
