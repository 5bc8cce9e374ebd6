// The formats that the table is made of, one function of each file.
#pragma once

#include "formats/quantized_layers.h"

namespace qualm {

Format CompressedTensorsFormat();
Format GptqFormat();

}  // namespace qualm
