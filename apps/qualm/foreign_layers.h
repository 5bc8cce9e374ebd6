// What `qualm inspect` shows of the quantized layers of another tool's file.
#pragma once

#include "formats/quantized_layers.h"

namespace qualm::cli {

// What the file says of itself and really holds.
Json ForeignAsJson(const QuantizedLayers& layers);
// A table of the layers, and what is wrong with them.
void PrintForeignLayers(const QuantizedLayers& layers);

}  // namespace qualm::cli
