// The formats that the table is made of, one function of each file, and what one format lends to
// another.
#pragma once

#include "formats/quantized_layers.h"

namespace qualm {

struct CompressedTensorsConfig;

Format AutoRoundFormat();
Format AwqFormat();
Format BitsAndBytesFormat();
Format CompressedTensorsFormat();
Format Fp8Format();
Format GptqFormat();
Format HqqFormat();
Format ModelOptFormat();
Format Mxfp4Format();

// Tensors of compressed-tensors under another tool's description. With `divides_first` a value of
// NVFP4 is value·(1/global)·scale, each product rounded to float32 (AutoRound).
std::unique_ptr<QuantizedLayers> OpenCompressedTensors(const FormatInput& input,
                                                       const CompressedTensorsConfig& config,
                                                       FormatDescription description,
                                                       bool divides_first);

}  // namespace qualm
